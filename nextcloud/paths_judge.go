package nextcloud

import (
	"net/http"
	"strconv"
	"strings"
)

// maintenanceException is the class by which WebDAV tells maintenance mode from an outage: it sends no header for it.
const maintenanceException = `OCA\DAV\Exception\ServerMaintenanceMode`

// judgePath turns the answer to a PROPFIND into a Verdict. It is pure. As in judge, only Nextcloud's own word rejects.
func judgePath(a answer, q question, user string, p PathCheck) Verdict {
	doc, isDAV := parseDAV(a)
	maintenance := inMaintenance(a) || doc.Exception == maintenanceException
	v, passing := outOfOrder(a.status, maintenance, said(doc.Message, q), q)
	if !passing {
		v = judgeResource(a, doc, isDAV, q, user, p)
	}
	if v.Outcome == Unknown {
		v.RetryAfter = retryAfter(a.header)
	}
	return v
}

func judgeResource(a answer, doc davDocument, isDAV bool, q question, user string, p PathCheck) Verdict {
	switch {
	case !isDAV:
		return verdict(Unknown, ReasonInvalid, "%s answers %d without a WebDAV document: %s", q.host, a.status, notNextcloud(a, q))
	case a.status == http.StatusMultiStatus:
		return judgeAccess(doc.resource(), user, p)
	case a.status == http.StatusUnauthorized:
		return refused("", false, q.hints) // WebDAV challenges everybody, and its message lists what it tried
	case a.status == http.StatusNotFound:
		return verdict(Rejected, ReasonForbidden, "%s does not exist among the files of user %s: create it, or share it with the user "+
			"and let the user accept", quotePath(p.Path), quote(user))
	case a.status == http.StatusForbidden:
		return verdict(Rejected, ReasonForbidden, "Nextcloud forbids user %s to look at %s%s: look at the rules of file access control "+
			"and of the storage", quote(user), quotePath(p.Path), said(doc.Message, q))
	}
	return verdict(Unknown, ReasonInvalid, "%s answers %d%s to PROPFIND %s: is nextcloud.url the base URL of a Nextcloud?",
		q.host, a.status, said(doc.Message, q), quotePath(p.Path))
}

// judgeAccess compares what the user may do with what it must.
func judgeAccess(r resource, user string, p PathCheck) Verdict {
	if !r.found {
		// Fail closed, as with groups. Nextcloud shows the homes of others as empty folders without permissions.
		return verdict(Rejected, ReasonForbidden, "Nextcloud does not say what user %s may do with %s: is it another user's home?",
			quote(user), quotePath(p.Path))
	}
	missing := r.lacks(p.Access)
	if len(missing) == 0 {
		return verdict(Accepted, "", "user %s has the access %s to %s", quote(user), p.Access, quotePath(p.Path))
	}
	kind, may, cure := "file", "read", "its owner must share it with the permission to read"
	if r.folder {
		kind = "folder"
	}
	switch {
	case p.Access == Write && r.folder:
		may, cure = "create files and folders in", "its owner must share it with the permissions to create and edit"
	case p.Access == Write:
		may, cure = "change", "its owner must share it with the permission to edit"
	}
	return verdict(Rejected, ReasonForbidden, "user %s may not %s the %s %s: its oc:permissions %s lack %s; %s",
		quote(user), may, kind, quotePath(p.Path), quote(r.permissions), strings.Join(missing, " and "), cure)
}

// quotePath shows more of a path than quote does: its end tells it from others.
func quotePath(path string) string { return strconv.Quote(clip(path, maxSaid)) }
