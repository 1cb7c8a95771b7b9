package integration

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

// What the grants of these tests send. None is a word that could stand in an answer by itself.
const (
	sentSecret  = "reflect-me+secret/4711=="
	sentSubject = "reflect-me-subject-4711"
)

// reflecting is an issuer that gives back what it was sent, in one part of its answer.
func reflecting(t *testing.T, answer func(w http.ResponseWriter, sent string)) string {
	t.Helper()
	var server *httptest.Server
	server = httptest.NewServer(leaks.Serves(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = w.Write([]byte(`{"issuer":"` + server.URL + `","token_endpoint":"` + server.URL + `/token","jwks_uri":"` + server.URL + `/keys",
				"grant_types_supported":["client_credentials","refresh_token","urn:ietf:params:oauth:grant-type:token-exchange"]}`))
			return
		}
		_ = r.ParseForm()
		id, secret, _ := r.BasicAuth()
		plain, _ := url.QueryUnescape(secret)
		sent := []string{r.Header.Get("Authorization"), id, secret, plain, r.PostForm.Encode()}
		for _, values := range r.PostForm {
			sent = append(sent, values...)
		}
		answer(w, strings.Join(sent, " "))
	})))
	t.Cleanup(server.Close)
	return server.URL
}

func refusing(code, description string) string {
	text, _ := json.Marshal(map[string]string{"error": code, "error_description": description})
	return string(text)
}

// TestAnswersThatReflectSecrets: neither the status nor an event shows what an issuer sends back.
func TestAnswersThatReflectSecrets(t *testing.T) {
	t.Parallel()
	answers := map[string]func(w http.ResponseWriter, sent string){
		"description": func(w http.ResponseWriter, sent string) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(refusing("invalid_client", sent)))
		},
		"long-description": func(w http.ResponseWriter, sent string) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(refusing("invalid_request", strings.Repeat(". ", 80)+sent)))
		},
		"code": func(w http.ResponseWriter, sent string) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(refusing(sent, "")))
		},
		"page": func(w http.ResponseWriter, sent string) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = w.Write([]byte("<html>" + sent))
		},
		"header": func(w http.ResponseWriter, sent string) {
			w.Header().Set("WWW-Authenticate", sent)
			w.Header().Set("Retry-After", sent)
			w.Header().Set("Location", "https://elsewhere.example/?"+url.QueryEscape(sent)+"#"+sent)
			w.WriteHeader(http.StatusFound)
		},
		"type-of-token": func(w http.ResponseWriter, sent string) {
			text, _ := json.Marshal(map[string]string{"access_token": "x", "token_type": sent})
			_, _ = w.Write(text)
		},
		"issued-type": func(w http.ResponseWriter, sent string) {
			text, _ := json.Marshal(map[string]string{"access_token": "x", "token_type": "Bearer", "issued_token_type": sent, "scope": sent})
			_, _ = w.Write(text)
		},
		"token": func(w http.ResponseWriter, sent string) {
			text, _ := json.Marshal(map[string]string{"access_token": sent, "token_type": "Bearer"})
			_, _ = w.Write(text)
		},
	}
	w := newWorld(t)
	w.secret("client", map[string]string{"client-secret": sentSecret})
	w.secret("subject", map[string]string{"access_token": sentSubject})
	methods := map[string]func(*v1alpha1.TokenGrant){
		"basic": func(*v1alpha1.TokenGrant) {},
		"post":  func(g *v1alpha1.TokenGrant) { g.Spec.ServiceAccount.ClientSecret.Method = v1alpha1.ClientSecretPost },
		"subject": func(g *v1alpha1.TokenGrant) {
			g.Spec.Subject = &v1alpha1.Subject{TokenSecretRef: &v1alpha1.SecretKeyRef{Name: "subject"}}
		},
	}
	var grants []*v1alpha1.TokenGrant
	for part, answer := range answers {
		w.issuer(part, reflecting(t, answer))
		for method, change := range methods {
			g := w.grantFor(part+"-"+method, part, "client", change)
			w.create(g)
			grants = append(grants, g)
		}
	}
	secrets := [][]byte{
		[]byte(sentSecret), []byte(url.QueryEscape(sentSecret)), []byte(sentSubject),
		[]byte(base64.StdEncoding.EncodeToString([]byte("client:" + url.QueryEscape(sentSecret)))),
	}
	for _, g := range grants {
		w.eventually("a failure of "+g.Name, func() (bool, string) {
			if err := w.Get(t.Context(), client.ObjectKeyFromObject(g), g); err != nil {
				t.Fatal(err)
			}
			ready := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionReady)
			tried := g.Status.LastAttempt
			return ready != nil && ready.Status == metav1.ConditionFalse && tried != nil && tried.Reason != v1alpha1.ReasonPending && tried.Reason != v1alpha1.ReasonIssuerNotReady, ""
		})
		t.Log(g.Name, g.Status.LastAttempt.Reason, g.Status.LastAttempt.Message)
		w.silent(g, secrets...)
	}
}

// TestTokensWhoseNamesAreSecrets: the names in a token are shown to more people than the token. An issuer can sign any.
func TestTokensWhoseNamesAreSecrets(t *testing.T) {
	for name, claim := range map[string][2]string{
		"the client's secret as the user":    {"preferred_username", "worker-secret"},
		"the client's secret in a scope":     {"scope", "openid-worker-secret"},
		"a token as the subject":             {"sub", "eyJhbGciOiJSUzI1NiJ9.e30"},
		"a subject that no annotation holds": {"sub", strings.Repeat("x", 30_000)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, s := newWorld(t), scripted(t)
			s.Script(keycloaktest.Answer{}, keycloaktest.Answer{Forever: true, Claims: func(c map[string]any) { c[claim[0]] = claim[1] }})
			w.issuer("kc", s.URL)
			w.secret("worker", map[string]string{"client-secret": "worker-secret"})
			g := w.grantFor("g", "kc", "worker")
			w.create(g)
			contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTokenMalformed), "protocol mappers")
			w.silent(g, []byte(claim[1]))
			if secret := w.published(g); secret != nil {
				t.Errorf("published: %v", secret.Annotations)
			}
		})
	}
}
