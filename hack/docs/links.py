"""A hook of mkdocs: links from docs/ to other files of the repository lead to GitHub.

Written as relative links they work on GitHub and are tested by test/repo; the site has only docs/.
"""

import posixpath
import re

LINK = re.compile(r"\]\(((?:\.\./)+[^)\s]*)\)")


def on_page_markdown(markdown, page, config, files):
    folder = posixpath.dirname(page.file.src_uri)

    def absolute(match):
        path, hash_sign, anchor = match[1].partition("#")
        target = posixpath.normpath(posixpath.join("docs", folder, path))
        if target.startswith("docs/"):
            return match[0]
        return f"]({config.repo_url.rstrip('/')}/blob/main/{target}{hash_sign}{anchor})"

    return LINK.sub(absolute, markdown)
