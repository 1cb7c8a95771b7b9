package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/controllers/publish"
	"github.com/tokengrant/tokengrant/internal/diagnose"
	"github.com/tokengrant/tokengrant/internal/sensitive"
)

func (a *app) renderCommand() *cobra.Command {
	file := ""
	cmd := &cobra.Command{
		Use:   "render -f FILE",
		Short: "Show the Secret that a grant would make, with a fake token and without a cluster",
		Long: `Validates the templates of the TokenGrants in a file and shows the Secrets that they would make, with a fake token.
Needs no cluster and asks nobody. The rules of the API are checked by kubectl apply --dry-run=server.`,
		Args: cobra.NoArgs,
		RunE: a.runE(func(context.Context, []string) error {
			if file == "" {
				return usagef("name a file with -f, or - for the standard input")
			}
			return a.render(file)
		}),
	}
	cmd.Flags().StringVarP(&file, "filename", "f", "", "file with TokenGrants; - is the standard input")
	return cmd
}

func (a *app) render(file string) error {
	content, err := a.read(file)
	if err != nil {
		return err
	}
	if file == "-" {
		file = "standard input"
	}
	grants, err := grantsIn(content)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	secrets := make([]corev1.Secret, len(grants))
	for i := range grants {
		s, err := renderSecret(&grants[i], a.now())
		if err != nil {
			return fmt.Errorf("%s: TokenGrant %q: %w", file, grants[i].Name, err)
		}
		secrets[i] = *s
	}
	if a.output == "" {
		return a.showSecrets(secrets)
	}
	if len(secrets) == 1 {
		return a.print(secrets[0], nil)
	}
	return a.print(corev1.SecretList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "List"}, Items: secrets}, nil)
}

func (a *app) read(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(a.In)
	}
	return os.ReadFile(file) //nolint:gosec // the file that the user names
}

// grantsIn reads the TokenGrants among YAML or JSON documents, and refuses fields that no TokenGrant has.
func grantsIn(content []byte) ([]v1alpha1.TokenGrant, error) {
	var grants []v1alpha1.TokenGrant
	documents := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
	for {
		var raw json.RawMessage
		err := documents.Decode(&raw)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		var kind metav1.TypeMeta
		if len(raw) == 0 || json.Unmarshal(raw, &kind) != nil || kind.GroupVersionKind() != v1alpha1.GroupVersion.WithKind(diagnose.KindTokenGrant) {
			continue
		}
		var g v1alpha1.TokenGrant
		if err := yaml.UnmarshalStrict(raw, &g); err != nil {
			return nil, err
		}
		grants = append(grants, g)
	}
	if len(grants) == 0 {
		return nil, errors.New("there is no TokenGrant of " + v1alpha1.GroupVersion.String() + " in it")
	}
	return grants, nil
}

// fakeLife is what Keycloak gives by default.
const fakeLife = 5 * time.Minute

func renderSecret(g *v1alpha1.TokenGrant, now time.Time) (*corev1.Secret, error) {
	templates := make(map[string]string, len(g.SecretDelivery().Data))
	for key, text := range g.SecretDelivery().Data {
		templates[key] = string(text)
	}
	if err := publish.Validate(templates); err != nil {
		return nil, fmt.Errorf("spec.delivery.secret.data: %w", err)
	}
	content, record := fakeToken(g, now.UTC().Truncate(time.Second))
	kind := corev1.SecretTypeOpaque
	if g.Spec.AppPassword != nil {
		if err := publish.ValidateAppPassword(templates); err != nil {
			return nil, fmt.Errorf("spec.delivery.secret.data: %w", err)
		}
		content, record = fakeAppPassword(now.UTC().Truncate(time.Second))
		kind = publish.AppPasswordType(templates)
	}
	data, err := publish.Render(templates, content)
	if err != nil {
		return nil, fmt.Errorf("spec.delivery.secret.data, with a fake token: %w", err)
	}
	recorded, err := record.Marshal()
	if err != nil {
		return nil, err
	}
	s := publish.Build(nil, publish.Desired{
		Name: g.SecretDelivery().Name, Namespace: g.Namespace, Grant: g.Name, Data: data, Record: recorded, Type: kind,
		Owner:  *metav1.NewControllerRef(g, v1alpha1.GroupVersion.WithKind(diagnose.KindTokenGrant)),
		Labels: plain(g.SecretDelivery().Labels), Annotations: plain(g.SecretDelivery().Annotations),
	})
	s.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}
	return s, nil
}

// fakeToken invents a token as the issuer would make it. Its signature says that it is none.
func fakeToken(g *v1alpha1.TokenGrant, now time.Time) (publish.Content, plan.Record) {
	client := "CLIENT"
	if g.Spec.ServiceAccount != nil {
		client = g.Spec.ServiceAccount.ClientID
	}
	audience := []string{"AUDIENCE"}
	if e := g.Spec.Exchange; e != nil {
		audience = nil
		for _, name := range e.Audiences {
			audience = append(audience, string(name))
		}
	}
	token := v1alpha1.TokenStatus{
		Subject: "00000000-0000-0000-0000-000000000000", Username: "service-account-" + client, ClientID: client, Audiences: audience,
		Scopes: []string{"profile", "email"}, IssuedAt: metav1.NewTime(now), ExpiresAt: metav1.NewTime(now.Add(fakeLife)),
	}
	claims := map[string]any{
		"iss": "https://id.example.com/realms/REALM", "sub": token.Subject, "aud": audience, "azp": client, "typ": "Bearer",
		"preferred_username": token.Username, "scope": strings.Join(token.Scopes, " "),
		"iat": now.Unix(), "exp": now.Add(fakeLife).Unix(),
	}
	if len(audience) == 1 {
		claims["aud"] = audience[0]
	}
	content := publish.Content{
		AccessToken: sensitive.New(part(map[string]any{"alg": "none", "typ": "JWT"}) + "." + part(claims) + ".fake"), TokenType: "Bearer",
		IssuedAt: now, ExpiresAt: now.Add(fakeLife), Scope: strings.Join(token.Scopes, " "), Claims: claims,
	}
	return content, plan.Record{Token: token}
}

// fakeAppPassword invents one; the user is in a Secret, which is not read.
func fakeAppPassword(now time.Time) (publish.Content, plan.Record) {
	const user = "USER"
	record := plan.Record{Token: v1alpha1.TokenStatus{Username: user, IssuedAt: metav1.NewTime(now)}, Name: "fake"}
	return publish.Content{Username: user, Password: sensitive.New("fake-app-password"), IssuedAt: now}, record
}

func part(value map[string]any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // strings and numbers have always a JSON form
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func plain[V ~string](m map[string]V) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = string(v)
	}
	return out
}

func fakeNote(s *corev1.Secret) string {
	if record, err := plan.ParseRecord(s.Annotations[v1alpha1.PublishedAnnotation]); err == nil && record.Name != "" {
		return "The app password is a fake, and so is its user."
	}
	return "The token is a fake: its signature is not valid."
}

// showSecrets writes manifests that people can read: the data in the clear, without what only the operator reads.
func (a *app) showSecrets(secrets []corev1.Secret) error {
	for _, s := range secrets {
		text := make(map[string]string, len(s.Data))
		for key, value := range s.Data {
			text[key] = string(value)
		}
		note := fakeNote(&s)
		s.StringData, s.Data, s.OwnerReferences = text, nil, nil
		for key := range s.Annotations {
			if strings.HasPrefix(key, v1alpha1.GroupVersion.Group+"/") {
				delete(s.Annotations, key)
			}
		}
		printf(a.Out, "---\n# %s\n", note)
		if err := writeYAML(a.Out, s); err != nil {
			return err
		}
	}
	return nil
}
