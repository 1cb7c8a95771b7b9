package sensitive

import "fmt"

const (
	// MaxSize bounds the value of a credential, in bytes: a key, a certificate chain, or a token with many claims fits.
	MaxSize = 64 << 10
	// MaxClientSecret bounds a client secret, in bytes. A longer one makes servers close the connection, which other clients
	// use as well.
	MaxClientSecret = 4 << 10
	// MaxAuthorities bounds a bundle of certificate authorities, in bytes. The API server takes no larger object.
	MaxAuthorities = 1 << 20
)

// Unusable says what is wrong with the size of a value, as the end of a sentence, and "" of one that can be used.
func Unusable(size, limit int) string {
	switch {
	case size == 0:
		return "is missing or empty: set it"
	case size > limit:
		return fmt.Sprintf("has %d bytes, and at most %d are used: set a smaller value", size, limit)
	}
	return ""
}
