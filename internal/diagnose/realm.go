package diagnose

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/tokengrant/tokengrant/internal/command"
)

// realmName are the characters of realms that kcadm.sh takes in its option -r and in paths.
var realmName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// otherName stands for a realm whose name has other characters.
const otherName = "REALM"

// realm is the name of a Keycloak realm, otherName where it is not printed, and empty where the URL is no realm's.
func (w *walk) realm() string {
	u, err := url.Parse(string(w.issuer.spec.URL))
	if err != nil {
		return ""
	}
	_, realm, _ := strings.Cut(u.Path, "/realms/")
	if realm = strings.Trim(realm, "/"); realm != "" && !realmName.MatchString(realm) {
		return otherName
	}
	return realm
}

// inRealm lets a command of kcadm.sh work on the issuer's realm.
func (w *walk) inRealm(c command.Command) command.Command { return c.Flag("-r", w.realm()) }

// kcadm gives commands for a Keycloak realm. $CLIENT stands for the internal ID of a client, which is looked up first.
// It gives none for other issuers.
func (w *walk) kcadm(clientID string, commands ...command.Command) script {
	var all script
	switch w.realm() {
	case "":
		return nil
	case otherName:
		all = append(all, command.Comment("REALM is the name of the realm, decoded from the end of spec.url"))
	}
	if clientID != "" {
		all = append(all, w.inRealm(command.New("kcadm.sh get clients")).Flag("-q clientId=", clientID).
			Words("--fields id --format csv --noquotes").Into("CLIENT"))
	}
	return append(all, commands...)
}

// getClient shows a client.
func (w *walk) getClient(id string) command.Command {
	return w.inRealm(command.New("kcadm.sh get clients")).Flag("-q clientId=", id)
}

// updateClient changes the client $CLIENT.
func (w *walk) updateClient() command.Command {
	return w.inRealm(command.New(`kcadm.sh update "clients/$CLIENT"`))
}

// createClient is the beginning of a command that makes a client.
func (w *walk) createClient(id string) command.Command {
	return w.inRealm(command.New("kcadm.sh create clients")).Set("clientId", id)
}
