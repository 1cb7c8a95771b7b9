package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/controllers/publish"
	"github.com/tokengrant/tokengrant/internal/sensitive"
)

func (a *app) inspectCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect NAME",
		Short: "Show the header and the claims of the token in the Secret, never the token",
		Long: `Decodes the token in the Secret as it is now and compares it with the record that the operator wrote beside it.
The signature is not verified here: doctor does that with a token of its own. You need the right to get the Secret.`,
		Args: cobra.ExactArgs(1),
		RunE: a.runE(func(ctx context.Context, args []string) error { return a.inspect(ctx, args[0]) }),
	}
}

// inspection is what inspect shows.
type inspection struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Secret    string `json:"secret"`
	// Key of the Secret in which the token was found.
	Key       string          `json:"key"`
	Header    json.RawMessage `json:"header"`
	Claims    json.RawMessage `json:"claims"`
	ExpiresAt metav1.Time     `json:"expiresAt"`
	Expired   bool            `json:"expired"`
	// Matches says that the token is the one that the record tells of; Differences says where not.
	Matches     bool     `json:"matchesRecord"`
	Differences []string `json:"differences,omitempty"`
}

func (a *app) inspect(ctx context.Context, name string) error {
	c, namespace, err := a.cluster()
	if err != nil {
		return err
	}
	var g v1alpha1.TokenGrant
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &g); err != nil {
		return err
	}
	var s corev1.Secret
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: secretName(&g)}, &s); err != nil {
		return err
	}
	if record, err := plan.ParseRecord(s.Annotations[v1alpha1.PublishedAnnotation]); err == nil && record.Name != "" {
		return a.inspectAppPassword(&g, &s, record)
	}
	found, err := inspectSecret(&g, &s, a.now())
	if err != nil {
		return err
	}
	if err := a.print(found, func() { a.showInspection(found) }); err != nil {
		return err
	}
	return broken(!found.Matches || found.Expired)
}

// jwt matches a signed token in its compact form (RFC 7515 §7.1), wherever a template has put it.
var jwt = regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]*`)

// tokenClaims are those that a record tells of.
type tokenClaims struct {
	Subject   string   `json:"sub"`
	Username  string   `json:"preferred_username"`
	AZP       string   `json:"azp"`
	ClientID  string   `json:"client_id"`
	Audience  audience `json:"aud"`
	Scope     string   `json:"scope"`
	IssuedAt  float64  `json:"iat"`
	ExpiresAt float64  `json:"exp"`
}

// audience is one string or several (RFC 7519 §4.1.3).
type audience []string

// UnmarshalJSON reads both forms.
func (a *audience) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(a))
}

// inspectSecret finds the token. The errors quote nothing of the Secret's content.
func inspectSecret(g *v1alpha1.TokenGrant, s *corev1.Secret, now time.Time) (*inspection, error) {
	for _, key := range slices.Sorted(maps.Keys(s.Data)) {
		token := jwt.FindString(string(s.Data[key]))
		if token == "" {
			continue
		}
		parts := strings.Split(token, ".")
		header, err := decodePart(parts[0])
		if err != nil {
			return nil, fmt.Errorf("the header of the token in key %q of Secret %q cannot be read", key, s.Name)
		}
		payload, err := decodePart(parts[1])
		if err != nil {
			return nil, fmt.Errorf("the claims of the token in key %q of Secret %q cannot be read", key, s.Name)
		}
		var said tokenClaims
		if json.Unmarshal(payload, &said) != nil {
			return nil, fmt.Errorf("a claim of the token in key %q of Secret %q has a wrong type", key, s.Name)
		}
		expires := metav1.NewTime(time.Unix(int64(said.ExpiresAt), 0).UTC())
		found := &inspection{
			Namespace: g.Namespace, Name: g.Name, Secret: s.Name, Key: key, Header: header, Claims: payload,
			ExpiresAt: expires, Expired: !now.Before(expires.Time),
		}
		found.Differences = differences(g, s, header, said)
		found.Matches = len(found.Differences) == 0
		return found, nil
	}
	return nil, fmt.Errorf("no key of Secret %q holds a JWT: it is opaque, or a template has transformed it", s.Name)
}

// decodePart reads a part of a token as indented JSON. A token within a claim is not shown either.
func decodePart(part string) (json.RawMessage, error) {
	raw, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return nil, err
	}
	var value map[string]any
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	indented, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return nil, err
	}
	return jwt.ReplaceAll(indented, []byte(sensitive.Redacted)), nil
}

// differences compares the token with the record and the grant.
func differences(g *v1alpha1.TokenGrant, s *corev1.Secret, header json.RawMessage, c tokenClaims) []string {
	record, err := plan.ParseRecord(s.Annotations[v1alpha1.PublishedAnnotation])
	if err != nil {
		return []string{"the Secret has no readable record (annotation " + v1alpha1.PublishedAnnotation + ")"}
	}
	list := driftOf(g, s)
	var head struct {
		KeyID string `json:"kid"`
	}
	if json.Unmarshal(header, &head) != nil {
		head.KeyID = ""
	}
	told := record.Token
	for _, d := range []struct{ name, token, record string }{
		{"sub", c.Subject, told.Subject},
		{"preferred_username", c.Username, told.Username},
		{"azp", cmp.Or(c.AZP, c.ClientID), told.ClientID},
		{"aud", strings.Join(c.Audience, " "), strings.Join(told.Audiences, " ")},
		{"scope", c.Scope, strings.Join(told.Scopes, " ")},
		{"kid", head.KeyID, record.KeyID},
	} {
		if d.token != d.record {
			list = append(list, fmt.Sprintf("%s is %q, the record says %q", d.name, d.token, d.record))
		}
	}
	// The two clocks may differ, and what is left of a life is cut to whole seconds; the lives must agree.
	life := time.Duration(c.ExpiresAt-c.IssuedAt) * time.Second
	if recorded := told.ExpiresAt.Sub(told.IssuedAt.Time); c.IssuedAt > 0 && recorded > life+time.Second {
		list = append(list, fmt.Sprintf("it lives %s, the record says %s", life, recorded))
	}
	return list
}

// driftOf says what others did to the Secret.
func driftOf(g *v1alpha1.TokenGrant, s *corev1.Secret) []string {
	var list []string
	drift := publish.Compare(s, publish.Desired{Type: s.Type, Owner: *metav1.NewControllerRef(g, v1alpha1.GroupVersion.WithKind("TokenGrant"))})
	switch drift { //nolint:exhaustive // the others are no matter of the token
	case publish.Foreign:
		list = append(list, "the Secret does not belong to this TokenGrant")
	case publish.Data:
		list = append(list, "the data of the Secret are not what the operator wrote")
	}
	return list
}

func (a *app) showInspection(i *inspection) {
	printf(a.Out, "TokenGrant %s/%s: key %q of Secret %q\n\n", i.Namespace, i.Name, i.Key, i.Secret)
	_, _ = io.WriteString(a.Out, escaped(fmt.Sprintf("Header:\n%s\n\nClaims:\n%s\n\n", i.Header, i.Claims), jsonEscape))
	now := a.now()
	if i.Expired {
		a.line(stateBroken, "expiry", "expired "+until(now, i.ExpiresAt.Time))
	} else {
		a.line(stateOK, "expiry", "expires "+until(now, i.ExpiresAt.Time))
	}
	if i.Matches {
		a.line(stateOK, "record", "the token is the one that the operator recorded")
	}
	for _, d := range i.Differences {
		a.line(stateBroken, "record", d)
	}
}
