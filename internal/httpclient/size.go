package httpclient

import (
	"errors"
	"fmt"
	"net/http"
)

const (
	// maxHeaderBytes bounds each value of a request's header: what nginx and Apache take by default.
	maxHeaderBytes = 8 << 10
	// maxRequestBytes bounds the body of a request.
	maxRequestBytes = 64 << 10
)

// RequestTooLargeError refuses a request before anything is sent: a server would close the connection, which others may
// use, or look as if it were at fault.
type RequestTooLargeError struct {
	// What is too large: "the Authorization header", "the request body".
	What string
	// Size and Most are in bytes.
	Size, Most int64
}

func (e *RequestTooLargeError) Error() string {
	return fmt.Sprintf("%s is %d bytes, and at most %d are sent", e.What, e.Size, e.Most)
}

func checkSize(req *http.Request) error {
	for name, values := range req.Header {
		for _, value := range values {
			if len(value) > maxHeaderBytes {
				return &RequestTooLargeError{"the " + name + " header", int64(len(value)), maxHeaderBytes}
			}
		}
	}
	if req.ContentLength <= 0 && req.Body != nil && req.Body != http.NoBody && req.Method != http.MethodGet { // Nothing here streams.
		return errors.New("the size of the request body is not known")
	}
	if req.ContentLength > maxRequestBytes {
		return &RequestTooLargeError{"the request body", req.ContentLength, maxRequestBytes}
	}
	return nil
}
