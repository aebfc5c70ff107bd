package bridge

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http/httptrace"
	"sync/atomic"
)

// connecting tells a request that found no connection from one that may have left. Its trace is called from goroutines of
// the transport, also when the request is over.
type connecting struct {
	connected atomic.Bool // the request was given a connection, new or used: the server may have it
	broke     atomic.Bool // a TLS handshake for it failed
}

func (c *connecting) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn:      func(httptrace.GotConnInfo) { c.connected.Store(true) },
		WroteHeaders: func() { c.connected.Store(true) },
		WroteRequest: func(httptrace.WroteRequestInfo) { c.connected.Store(true) },
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			if err != nil {
				c.broke.Store(true)
			}
		},
	}
}

// explain returns err, the failure of the request, as handshakeBroke if it cannot have left. A handshake can fail for a request
// that went out on another connection meanwhile, or that was redirected: then nothing is known.
func (c *connecting) explain(err error) error {
	if c.broke.Load() && !c.connected.Load() {
		return handshakeBroke{err}
	}
	return err
}

// handshakeBroke is a failure of the TLS handshake, before anything of the request was sent.
type handshakeBroke struct{ error }

// Unwrap returns what the transport said.
func (e handshakeBroke) Unwrap() error { return e.error }

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}
