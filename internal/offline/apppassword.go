package offline

import (
	"time"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// AppPassword is a password that the operator has made at a Nextcloud. It is kept from the moment it is made until it
// has been deleted there.
type AppPassword struct {
	// URL of the Nextcloud, User who logged in there, and Name by which Nextcloud lists it; no two of a grant share one.
	URL, User, Name string
	Password        sensitive.String
	MadeAt          time.Time
	// Content names what it was made from, as in Login.
	Content string
	// Inputs, Credential and Request are those of the record.
	Inputs, Credential, Request string
	// Published says that it has been in the Secret, Worked that Nextcloud has let it in once, and Rejected that
	// Nextcloud did not do so when it was asked last.
	Published, Worked, Rejected bool
	// EndAt is when it is to be deleted at Nextcloud; zero while it is in use, or may be.
	EndAt time.Time
}

// Equal compares all there is.
func (p AppPassword) Equal(other AppPassword) bool {
	return p.URL == other.URL && p.User == other.User && p.Name == other.Name && p.Password.Equal(other.Password) &&
		p.MadeAt.Equal(other.MadeAt) && p.EndAt.Equal(other.EndAt) && p.Content == other.Content &&
		p.Inputs == other.Inputs && p.Credential == other.Credential && p.Request == other.Request &&
		p.Published == other.Published && p.Worked == other.Worked && p.Rejected == other.Rejected
}

// Login is the latest try to make an app password, written before it is sent: a login must be sent neither twice nor
// after it was refused, whatever happens to the operator meanwhile.
type Login struct {
	// Content is a hash of the Secret that it was made with, and of the Nextcloud. It may be kept only where it is
	// encrypted: a weak password could be guessed from it.
	Content string
	// Name is that of the app password it asks for.
	Name string
	At   time.Time
	// Refusal is what Nextcloud said when it refused it; empty where no answer is known.
	Refusal string
}

// wireAppPassword is how an AppPassword looks before it is encrypted.
type wireAppPassword struct {
	URL        string    `json:"url"`
	User       string    `json:"user"`
	Name       string    `json:"name"`
	Password   string    `json:"password"`
	MadeAt     time.Time `json:"madeAt"`
	Content    string    `json:"content"`
	Inputs     string    `json:"inputs"`
	Credential string    `json:"credential"`
	Request    string    `json:"request,omitempty"`
	Published  bool      `json:"published,omitempty"`
	Worked     bool      `json:"worked,omitempty"`
	Rejected   bool      `json:"rejected,omitempty"`
	EndAt      time.Time `json:"endAt,omitzero"`
}

func toWire(list []AppPassword) []wireAppPassword {
	var out []wireAppPassword
	for _, p := range list {
		out = append(out, wireAppPassword{
			p.URL, p.User, p.Name, p.Password.Reveal(), p.MadeAt, p.Content, p.Inputs, p.Credential, p.Request,
			p.Published, p.Worked, p.Rejected, p.EndAt,
		})
	}
	return out
}

func fromWire(list []wireAppPassword) []AppPassword {
	var out []AppPassword
	for _, w := range list {
		out = append(out, AppPassword{
			w.URL, w.User, w.Name, sensitive.New(w.Password), w.MadeAt, w.Content, w.Inputs, w.Credential, w.Request,
			w.Published, w.Worked, w.Rejected, w.EndAt,
		})
	}
	return out
}
