// Package statuspage serves one page that shows all grants: how much life their tokens have left, when they are refreshed,
// and what fails. It is read only, needs no JavaScript, and has nothing that Secrets hold: it is made from the status.
package statuspage

import (
	"bytes"
	"cmp"
	_ "embed"
	"html/template"
	"net/http"
	"slices"
	"strconv"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/metrics"
)

// Path is where the page is served.
const Path = "/status"

// most rows keep the page readable; what needs somebody comes first.
const most = 500

//go:embed page.html
var source string

var page = template.Must(template.New("page").Parse(source))

// Page is the handler. It answers GET and HEAD; the query parameter namespace leaves only the grants of one.
type Page struct {
	Source metrics.Source
	Clock  clock.PassiveClock
}

// view is what the template sees.
type view struct {
	Now        string
	Working    bool
	Namespace  string
	Namespaces []string
	Summary    []count
	Rows       []row
	Hidden     int
	Issuers    []issuerRow
}

// count is one number of the summary.
type count struct {
	Number int
	Label  string
	Tone   tone
}

func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this page can only be read", http.StatusMethodNotAllowed)
		return
	}
	var out bytes.Buffer
	v, err := p.view(r.URL.Query().Get("namespace"))
	if err == nil {
		err = page.Execute(&out, v)
	}
	if err != nil {
		ctrl.LoggerFrom(r.Context()).Error(err, "Cannot show the status page")
		http.Error(w, "the operator cannot list the grants: look at its log", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Length", strconv.Itoa(out.Len()))
	_, _ = w.Write(out.Bytes())
}

func (p *Page) view(namespace string) (view, error) {
	grants, err := p.Source.Grants()
	if err != nil {
		return view{}, err
	}
	issuers, err := p.Source.Issuers()
	if err != nil {
		return view{}, err
	}
	now := p.Clock.Now()
	v := view{Now: now.UTC().Format("2006-01-02 15:04:05 UTC"), Namespace: namespace, Working: p.Source.Works()}
	for i := range grants {
		g := &grants[i]
		if !slices.Contains(v.Namespaces, g.Namespace) {
			v.Namespaces = append(v.Namespaces, g.Namespace)
		}
		if namespace == "" || namespace == g.Namespace {
			v.Rows = append(v.Rows, rowOf(g, now))
		}
	}
	slices.Sort(v.Namespaces)
	slices.SortFunc(v.Rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(b.Tone, a.Tone), cmp.Compare(a.left, b.left), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	v.Summary = summarize(v.Rows)
	if len(v.Rows) > most {
		v.Rows, v.Hidden = v.Rows[:most], len(v.Rows)-most
	}
	for _, i := range issuers {
		if namespace == "" || i.Namespace == "" || i.Namespace == namespace {
			v.Issuers = append(v.Issuers, issuerRowOf(i))
		}
	}
	slices.SortFunc(v.Issuers, func(a, b issuerRow) int {
		return cmp.Or(cmp.Compare(b.Tone, a.Tone), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return v, nil
}

func summarize(rows []row) []count {
	counts := []count{{Label: "without a usable token", Tone: bad}, {Label: "at risk", Tone: warn}, {Label: "waiting or suspended", Tone: calm}, {Label: "in order", Tone: good}}
	for i := range counts {
		for _, r := range rows {
			if r.Tone == counts[i].Tone {
				counts[i].Number++
			}
		}
	}
	return counts
}

// tone is how much a row needs somebody; the more, the higher.
type tone int

const (
	good tone = iota
	calm      // suspended, or on its way
	warn      // works, but its refresh fails or is late
	bad       // has no usable token
)

// String is the class in the page, and what a screen reader says.
func (t tone) String() string { return []string{"good", "calm", "warn", "bad"}[t] }

func failing(g *v1alpha1.TokenGrant) bool {
	return g.Status.LastAttempt != nil && g.Status.ConsecutiveFailures > 0
}
