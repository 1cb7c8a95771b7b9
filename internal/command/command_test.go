package command_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/tokengrant/tokengrant/internal/command"
	"github.com/tokengrant/tokengrant/internal/command/commandtest"
)

func TestPlainCommandsReadPlainly(t *testing.T) {
	for want, c := range map[string]command.Command{
		"kubectl tokengrant login alice -n apps --secret alice --overwrite": command.New("kubectl tokengrant login").Arg("alice").
			Flag("-n", "apps").Flag("--secret", "alice").Words("--overwrite"),
		"occ group:adduser 'sync users' alice":                    command.New("occ group:adduser").Arg("sync users").Arg("alice"),
		"occ group:adduser --ansi -- -all alice":                  command.New("occ group:adduser").Arg("-all").Words("--ansi").Arg("alice"),
		"occ user_oidc:provider P --clientid='a b'":               command.New("occ user_oidc:provider P").Flag("--clientid=", "a b"),
		`X=$(kcadm.sh get clients -q clientId='nobody'\''s')`:     command.New("kcadm.sh get clients").Flag("-q clientId=", "nobody's").Into("X"),
		"kcadm.sh create clients -s clientId=notes":               command.New("kcadm.sh create clients").Set("clientId", "notes"),
		`kcadm.sh create clients -s clientId='{a}'`:               command.New("kcadm.sh create clients").Flag("-s clientId=", "{a}"),
		`kcadm.sh create clients -s clientId='"{\"a\":1}"'`:       command.New("kcadm.sh create clients").Set("clientId", `{"a":1}`),
		`kcadm.sh create clients -s clientId='"true x"'`:          command.New("kcadm.sh create clients").Set("clientId", "true x"),
		`kubectl patch x -p '{"a":"<&>"}'`:                        command.New("kubectl patch x").JSON("-p", map[string]string{"a": "<&>"}),
		"curl -gv 'https://id.example.com/[1-9]'":                 command.New("curl -gv").URL("https://id.example.com/[1-9]"),
		"kubectl create secret generic a --from-literal=k=\"$S\"": command.New("kubectl create secret generic").Arg("a").Flag("--from-literal=", "k").Join(`="$S"`),
		"grep -E ',a\\.b$' | cut -f1":                             command.New("grep -E").Arg(`,a\.b$`).Pipe(command.New("cut -f1")),
		"# look":                                                  command.Comment("look"),
		"kubectl get x -n ''":                                     command.New("kubectl get x").Flag("-n", ""),
		"occ user:info '=ls'":                                     command.New("occ user:info").Arg("=ls"), // zsh would look for ls
	} {
		if got, err := c.Text(); got != want || err != nil {
			t.Errorf("got %s, %v\nwant %s", got, err, want)
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	get := command.New("kubectl get secret")
	for name, test := range map[string]struct {
		command command.Command
		want    error
	}{
		"a line break":                       {get.Arg("a\nb"), command.ErrUnprintable},
		"an escape":                          {get.Flag("-n", "\x1b[2J"), command.ErrUnprintable},
		"C1":                                 {get.Flag("-n", "\u009b"), command.ErrUnprintable},
		"text that is reversed":              {get.Flag("-l a=", "\u202e"), command.ErrUnprintable},
		"text that is hidden":                {get.Arg("a\u200b"), command.ErrUnprintable},
		"no UTF-8":                           {get.Arg("\xff"), command.ErrUnprintable},
		"a name like an option":              {get.Arg("--all"), command.ErrOption},
		"a value like an option":             {get.Flag("-n", "-A"), command.ErrOption},
		"an operand of kcadm.sh":             {command.New("kcadm.sh get").Arg("-x"), command.ErrOption},
		"a file for curl":                    {command.New("curl").URL("file:///etc/passwd"), command.ErrURL},
		"a user for curl":                    {command.New("curl").URL("https://a@b"), command.ErrURL},
		"an option for curl":                 {command.New("curl").URL("-ofile"), command.ErrURL},
		"behind a pipe":                      {get.Pipe(get.Arg("\n")), command.ErrUnprintable},
		"before a pipe":                      {get.Arg("\n").Pipe(get), command.ErrUnprintable},
		"in a variable":                      {get.Arg("\n").Into("A"), command.ErrUnprintable},
		"what follows does not make it good": {get.Arg("\n").Arg("a"), command.ErrUnprintable},
	} {
		if text, err := test.command.Text(); !errors.Is(err, test.want) || text != "" {
			t.Errorf("%s: got %q, %v, want %v", name, text, err, test.want)
		}
	}
}

func TestAScriptWithARefusedCommandHasNone(t *testing.T) {
	lookUp := command.New("kcadm.sh get clients").Flag("-q clientId=", "\n").Into("CLIENT")
	got := command.Script(command.Comment("look"), lookUp, command.New(`kcadm.sh update "clients/$CLIENT"`))
	want := []string{"# There is no command here: a value in it has a character that cannot be printed"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestACommandIsNotChangedByWhatIsMadeOfIt(t *testing.T) {
	base := command.New("kubectl get pods").Words("-A")
	for _, made := range []command.Command{base.Words("-w"), base.Join("B"), base.Arg("a").Flag("-n", "b")} {
		other, _ := made.Text()
		if got, _ := base.Text(); got != "kubectl get pods -A" || got == other {
			t.Errorf("got %s, and %s of it", got, other)
		}
	}
}

// FuzzCommand: whatever the values are, a shell gives the program just them, or there is no command.
func FuzzCommand(f *testing.F) {
	for _, value := range []string{
		"notes-sync", "", "$(touch mark)", "`touch mark`", "';touch mark;'", `";touch mark;"`, "a -r REALM b", "-x", "--all", "--", "a\nb", "\x1b[2J",
		"!!", "~", "=ls", "#", `\`, "*", "{a,b}", "a=b", "$IFS", "%s", "'", `'"'`, "\u202e", "é", "\xff", "&", "|", "<x", ">x", "a\tb",
	} {
		f.Add(value, "alice")
		f.Add("alice", value)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		terminal := commandtest.New(t)
		for _, tt := range []struct {
			command command.Command
			want    []string
		}{
			{command.New("kubectl get").Arg(a).Flag("-n", b), []string{"kubectl", "get", a, "-n", b}},
			{command.New("kcadm.sh create").Flag("-q clientId=", a).Flag("users/", b), []string{"kcadm.sh", "create", "-q", "clientId=" + a, "users/" + b}},
			{command.New("occ user:info").Arg(a).Words("--ansi").Arg(b), nil},
		} {
			line, err := tt.command.Text()
			if err != nil {
				if printable(a) && printable(b) && !strings.HasPrefix(a, "-") && !strings.HasPrefix(b, "-") {
					t.Errorf("%q and %q are refused: %v", a, b, err)
				}
				continue
			}
			if !printable(line) {
				t.Errorf("not printable: %q", line)
			}
			if tt.want == nil {
				tt.want = []string{"occ", "user:info", a, "--ansi", b}
				if strings.HasPrefix(a, "-") || strings.HasPrefix(b, "-") {
					tt.want = []string{"occ", "user:info", "--ansi", "--", a, b}
				}
			}
			for _, shell := range commandtest.Shells() {
				terminal.Parse(t, shell, line)
				calls, said := terminal.Paste(t, shell, line)
				if len(calls) != 1 || !slices.Equal(calls[0], tt.want) || terminal.Ran() {
					t.Errorf("%s ran %q of %s, want %q; mark %t; %s", shell, calls, line, tt.want, terminal.Ran(), said)
				}
				// Within a variable and a pipe it is the same command.
				line, _ := tt.command.Into("X").Text()
				if calls, said := terminal.Paste(t, shell, line); len(calls) != 1 || !slices.Equal(calls[0], tt.want) {
					t.Errorf("%s ran %q of %s, want %q; %s", shell, calls, line, tt.want, said)
				}
			}
		}
	})
}

func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError })
}
