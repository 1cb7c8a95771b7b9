package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Every Keycloak of this package has this administrator in its master realm. It
// listens on the loopback address only and holds nothing of value.
const (
	keycloakAdmin    = "admin"
	keycloakPassword = "admin"
)

// KeycloakOptions say how a Keycloak differs from the default.
type KeycloakOptions struct {
	Place
	Version    string   // one of KeycloakVersions; default: DefaultKeycloakVersion
	Port       int      // default: a free one
	Realms     [][]byte // realm representations (JSON), imported at the first start
	Features   []string // build options, such as "token-exchange:v1"
	Truststore []string // PEM files of authorities it trusts as a client
	HTTPS      bool     // serve https with a certificate of its own, see Keycloak.CA
	// Fast lets Java compile for speed, as a shipped Keycloak does: it starts slower, and does several times as much once it is warm.
	Fast bool
	// ClientCertificates makes it ask https clients for a certificate, which an authority in Truststore has issued.
	ClientCertificates bool
}

// build lists the options that are fixed before the start.
func (o KeycloakOptions) build() []string {
	var build []string
	if len(o.Features) > 0 {
		build = append(build, "--features="+strings.Join(slices.Sorted(slices.Values(o.Features)), ","))
	}
	if o.ClientCertificates {
		build = append(build, "--https-client-auth=request")
	}
	return build
}

// Keycloak is a running server. Its database is a file, so that keys, realms
// and sessions survive Stop and Start.
type Keycloak struct {
	*Service
	// URL has no trailing slash; a realm's issuer is URL + "/realms/" + name.
	URL     string
	Version string
	// CA is the PEM certificate to trust; nil without HTTPS.
	CA []byte

	client *http.Client
}

// StartKeycloak returns when Keycloak answers and the realms are imported: after
// 10 to 20 s, and at the first use of a version some minutes.
func StartKeycloak(ctx context.Context, o KeycloakOptions) (*Keycloak, error) {
	if o.Version == "" {
		o.Version = DefaultKeycloakVersion()
	}
	prepared, err := PrepareKeycloak(ctx, o.Version, o.build()...)
	if err != nil {
		return nil, err
	}
	elapsed := took(ctx)
	service, err := newService(o.Place)
	if err != nil {
		return nil, err
	}
	k := &Keycloak{Service: service, Version: o.Version, client: http.DefaultClient}
	if err := k.boot(ctx, o, prepared); err != nil {
		return nil, errors.Join(fmt.Errorf("Keycloak %s: %w", o.Version, err), k.Stop())
	}
	Sayf(ctx, "Keycloak %s is up at %s (%s)", k.Version, k.URL, elapsed())
	return k, nil
}

// Issuer is the issuer URL of a realm.
func (k *Keycloak) Issuer(realm string) string { return k.URL + "/realms/" + realm }

func (k *Keycloak) boot(ctx context.Context, o KeycloakOptions, prepared string) error {
	home := filepath.Join(k.place.Dir, "home")
	if err := instanceHome(home, prepared, o.Realms); err != nil {
		return err
	}
	port := o.Port
	if port == 0 {
		free, err := freePort(ctx)
		if err != nil {
			return err
		}
		port = free
	}
	k.URL = "http://" + k.place.listen(port)
	transport := httpArgs(port)
	if o.HTTPS {
		k.URL = "https://" + k.place.listen(port)
		args, err := k.httpsArgs(port)
		if err != nil {
			return err
		}
		transport = args
	}
	args, err := startArgs(k.URL)
	if err != nil {
		return err
	}
	args = append(args, transport...)
	if len(o.Realms) > 0 {
		args = append(args, "--import-realm")
	}
	if len(o.Truststore) > 0 {
		args = append(args, "--truststore-paths="+strings.Join(o.Truststore, ","))
	}
	java, err := javaPath()
	if err != nil {
		return err
	}
	return k.run(ctx, &server{
		name: "keycloak", path: java, args: javaArgs(o.Fast, prepared, home, args), env: keycloakEnv(), within: 3 * time.Minute,
		// Nothing is served before the import is done.
		ready: func(ctx context.Context) error { return answers(ctx, k.client, k.Issuer("master")) },
	})
}

// instanceHome makes a Keycloak home of its own, so that several run at once:
// the programs of the prepared copy, a copy of its database, realms to import.
func instanceHome(home, prepared string, realms [][]byte) error {
	database, imports := filepath.Join(home, "data", "h2"), filepath.Join(home, "data", "import")
	if err := errors.Join(os.MkdirAll(database, 0o700), os.MkdirAll(imports, 0o700)); err != nil {
		return err
	}
	for _, name := range []string{"lib", "conf", "providers", "themes"} {
		if err := os.Symlink(filepath.Join(prepared, name), filepath.Join(home, name)); err != nil {
			return err
		}
	}
	const file = "keycloakdb.mv.db"
	if err := copyFile(filepath.Join(prepared, "data", "h2", file), filepath.Join(database, file)); err != nil {
		return err
	}
	for _, realm := range realms {
		var named struct{ Realm string }
		if err := json.Unmarshal(realm, &named); err != nil || named.Realm == "" {
			return fmt.Errorf("not a realm representation: no name in \"realm\" (%w)", err)
		}
		if err := os.WriteFile(filepath.Join(imports, named.Realm+"-realm.json"), realm, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func httpArgs(port int) []string {
	return []string{"--http-enabled=true", "--http-port=" + strconv.Itoa(port)}
}

func (k *Keycloak) httpsArgs(port int) ([]string, error) {
	authority, err := newAuthority("tokengrant-keycloak")
	if err != nil {
		return nil, err
	}
	files, err := authority.servingFiles(k.place)
	if err != nil {
		return nil, err
	}
	k.CA, k.client = authority.bundle(), trusting(authority)
	return []string{
		"--https-port=" + strconv.Itoa(port),
		"--https-certificate-file=" + files.cert,
		"--https-certificate-key-file=" + files.key,
	}, nil
}

// startArgs are the options every start has. The local cache keeps several
// Keycloaks on one machine from forming a cluster.
func startArgs(url string) ([]string, error) {
	host, _, err := splitURL(url)
	return []string{"start", "--optimized", "--cache=local", "--http-host=" + host, "--hostname=" + url}, err
}

// javaArgs start Keycloak as bin/kc.sh does, but without a shell between, which
// would keep the parent-death signal and the right pid from us. The C1 compiler
// and the serial collector halve the CPU a start costs and save 60 MB.
func javaArgs(fast bool, prepared, home string, args []string) []string {
	java := []string{
		"-XX:+UseSerialGC", "-Xms64m", "-Xmx384m", "-XX:MaxMetaspaceSize=256m",
		"-XX:+ExitOnOutOfMemoryError", "-Dfile.encoding=UTF-8", "-Duser.language=en", "-Duser.country=US",
		"-Djava.util.concurrent.ForkJoinPool.common.threadFactory=io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory",
		"-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
		"-Dpicocli.disable.closures=true",
		"-Dkc.home.dir=" + home,
		"-Djboss.server.config.dir=" + filepath.Join(home, "conf"),
	}
	if !fast {
		java = append(java, "-XX:TieredStopAtLevel=1")
	}
	for _, name := range []string{"java.util", "java.util.concurrent", "java.security", "java.lang"} {
		java = append(java, "--add-opens=java.base/"+name+"=ALL-UNNAMED")
	}
	java = append(java, "-cp", filepath.Join(prepared, "lib", "quarkus-run.jar"),
		"io.quarkus.bootstrap.runner.QuarkusEntryPoint")
	return append(java, args...)
}

// keycloakEnv is this program's environment without what Keycloak would read
// as options, plus the administrator of a first start.
func keycloakEnv() []string {
	var env []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "KC_") && !strings.HasPrefix(variable, "QUARKUS_") {
			env = append(env, variable)
		}
	}
	return append(env, "KC_BOOTSTRAP_ADMIN_USERNAME="+keycloakAdmin, "KC_BOOTSTRAP_ADMIN_PASSWORD="+keycloakPassword)
}

func javaPath() (string, error) {
	if home := os.Getenv("JAVA_HOME"); home != "" {
		return filepath.Join(home, "bin", "java"), nil
	}
	path, err := exec.LookPath("java")
	if err != nil {
		return "", fmt.Errorf("Keycloak needs Java 17 or newer (in PATH, or set JAVA_HOME): %w", err)
	}
	return path, nil
}
