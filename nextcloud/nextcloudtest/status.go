package nextcloudtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// status answers anybody, with any token, also in maintenance mode.
func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	set := s.Settings()
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodHead {
		return
	}
	_ = json.NewEncoder(w).Encode(struct {
		Installed       bool   `json:"installed"`
		Maintenance     bool   `json:"maintenance"`
		NeedsDBUpgrade  bool   `json:"needsDbUpgrade"`
		Version         string `json:"version"`
		VersionString   string `json:"versionstring"`
		Edition         string `json:"edition"`
		ProductName     string `json:"productname"`
		ExtendedSupport bool   `json:"extendedSupport"`
	}{true, set.Maintenance, set.NeedsDBUpgrade, version + ".2", version, "", "Nextcloud", false})
}

// outOfOrder answers what Nextcloud answers when it does not get as far as looking at the request.
func (s *Server) outOfOrder(w http.ResponseWriter, r *http.Request, set Settings) bool {
	host, _, _ := strings.Cut(r.Host, ":")
	switch {
	case set.Down == DownPHP:
		page(w, http.StatusBadGateway, "text/html", "502 Bad Gateway")
	case set.Down == DownDatabase:
		w.Header().Set("Content-Type", "text/html; charset=UTF-8")
		w.WriteHeader(http.StatusInternalServerError)
	case len(set.TrustedDomains) > 0 && !slices.Contains(set.TrustedDomains, host):
		untrusted(w, r)
	case (set.Maintenance || set.NeedsDBUpgrade) && r.URL.Path != "/status.php":
		maintenance(w, r, set)
	default:
		return false
	}
	return true
}

func untrusted(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/status.php" {
		page(w, http.StatusBadRequest, htmlType, "Access through untrusted domain")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = fmt.Fprint(w, `{"error": "Trusted domain error.", "code": 15}`)
}

// maintenance: WebDAV lacks the header that tells maintenance from an outage, and has a page only while an upgrade is pending.
func maintenance(w http.ResponseWriter, r *http.Request, set Settings) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/ocs/"):
		w.Header().Set("X-Nextcloud-Maintenance-Mode", "1")
		writeOCS(w, r, reply{code: http.StatusServiceUnavailable, message: "Service unavailable", early: true})
	case strings.HasPrefix(r.URL.Path, "/remote.php/") && set.NeedsDBUpgrade:
		page(w, http.StatusServiceUnavailable, htmlType, "Update needed")
	case strings.HasPrefix(r.URL.Path, "/remote.php/"):
		davError(w, http.StatusServiceUnavailable, `OCA\DAV\Exception\ServerMaintenanceMode`, "System is in maintenance mode.")
	default:
		w.Header().Set("X-Nextcloud-Maintenance-Mode", "1")
		w.Header().Set("Retry-After", "120")
		page(w, http.StatusServiceUnavailable, htmlType, "Maintenance mode")
	}
}

const htmlType = "text/html; charset=UTF-8"

func page(w http.ResponseWriter, status int, contentType, title string) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<!DOCTYPE html>\n<html><head><title>%s</title></head></html>\n", title)
}
