package nextcloudtest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// node is a file or a folder. The tree of a user is a map from clean relative paths; "" is the home.
type node struct {
	folder   bool
	body     []byte
	modified time.Time
	id       int
	// permissions are the letters of oc:permissions: W write, C create a file, K create a folder, D delete, G read, …
	permissions string
}

const (
	folderPermissions = "RGDNVCK"
	filePermissions   = "RGDNVW"
)

// etag changes with the content.
func (n node) etag() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %s", n.id, n.modified.UnixNano(), n.body))
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}

func (n node) may(letter string) bool { return strings.Contains(n.permissions, letter) }

// fileError is an answer of the tree that is not a success.
type fileError struct {
	status             int
	exception, message string
}

func notFound(name string) *fileError {
	return &fileError{http.StatusNotFound, `Sabre\DAV\Exception\NotFound`, fmt.Sprintf("File with name %s could not be located", name)}
}

var forbidden = &fileError{http.StatusForbidden, `Sabre\DAV\Exception\Forbidden`, "Permission denied"}

// home returns the tree of a user, with at least the home in it. The mutex is held.
func (s *state) home(user string) map[string]*node {
	tree, ok := s.files[user]
	if !ok {
		tree = map[string]*node{"": s.newNode(true, nil)}
		s.files[user] = tree
	}
	return tree
}

func (s *state) newNode(folder bool, body []byte) *node {
	s.lastFile++
	n := &node{folder: folder, body: body, modified: s.clock.Now(), id: s.lastFile, permissions: filePermissions}
	if folder {
		n.permissions = folderPermissions
	}
	return n
}

func (s *state) file(user, name string) (node, *fileError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.home(user)[name]
	if !ok {
		return node{}, notFound(name)
	}
	return *n, nil
}

// children lists the names in a folder, sorted.
func (s *state) children(user, folder string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(s.home(user))) {
		if name != "" && parent(name) == folder {
			names = append(names, name)
		}
	}
	return names
}

func parent(name string) string {
	if dir := path.Dir(name); dir != "." {
		return dir
	}
	return ""
}

// add puts a file, or makes a folder. It reports whether the file is new.
func (s *state) add(user, name string, folder bool, body []byte) (node, bool, *fileError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tree := s.home(user)
	if old, exists := tree[name]; exists {
		switch {
		case folder || old.folder:
			return node{}, false, &fileError{http.StatusMethodNotAllowed, `Sabre\DAV\Exception\MethodNotAllowed`, "The resource you tried to create already exists"}
		case !old.may("W"):
			return node{}, false, forbidden
		}
		old.body, old.modified = body, s.clock.Now()
		return *old, false, nil
	}
	letter := "C"
	if folder {
		letter = "K"
	}
	above, exists := tree[parent(name)]
	switch {
	case !exists || !above.folder:
		return node{}, false, &fileError{http.StatusConflict, `Sabre\DAV\Exception\Conflict`, "Parent node does not exist"}
	case !above.may(letter):
		return node{}, false, forbidden
	}
	tree[name] = s.newNode(folder, body)
	return *tree[name], true, nil
}

func (s *state) remove(user, name string) *fileError {
	s.mu.Lock()
	defer s.mu.Unlock()
	tree := s.home(user)
	n, ok := tree[name]
	switch {
	case !ok:
		return notFound(name)
	case name == "" || !n.may("D"):
		return forbidden
	}
	maps.DeleteFunc(tree, func(other string, _ *node) bool { return other == name || strings.HasPrefix(other, name+"/") })
	return nil
}

// AddFolder makes a folder in a user's home whose oc:permissions are the given letters; none means all.
func (s *Server) AddFolder(user, name, permissions string) error {
	if _, _, failed := s.state.add(user, inHome(name), true, nil); failed != nil {
		return fmt.Errorf("folder %q of %q: %s", name, user, failed.message)
	}
	if permissions != "" {
		s.SetPermissions(user, name, permissions)
	}
	return nil
}

// SetPermissions changes the oc:permissions of a file or folder, as its owner does by sharing it otherwise. It reports
// whether the path exists.
func (s *Server) SetPermissions(user, name, permissions string) bool {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	n, ok := s.state.home(user)[inHome(name)]
	if ok {
		n.permissions = permissions
	}
	return ok
}

// inHome is the clean path relative to a home.
func inHome(name string) string { return strings.Trim(path.Clean("/"+name), "/") }
