package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// connections is how many idle ones are kept: as many as are commonly used at once.
const connections = 32

// newTransport makes the client's side of HTTP. A request has no time limit of its
// own, since parts can be large and links slow; but a connection on which nothing
// moves for the time idle fails.
func newTransport(idle time.Duration) (*http.Transport, error) {
	roots, err := trusted()
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: min(idle, 15*time.Second), KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &watched{Conn: conn, idle: idle}, nil
		},
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout: min(idle, 15*time.Second),
		MaxIdleConns:        connections,
		MaxIdleConnsPerHost: connections,
		IdleConnTimeout:     idle,
		// A server asked for compressed bytes would not say how many there are.
		DisableCompression: true,
	}, nil
}

// trusted are the certificates that AWS_CA_BUNDLE names; nil are the system's.
func trusted() (*x509.CertPool, error) {
	path := os.Getenv("AWS_CA_BUNDLE")
	if path == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the certificates that AWS_CA_BUNDLE names: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("AWS_CA_BUNDLE names %s, in which there is no certificate; it must be a file of PEM blocks", path)
	}
	return pool, nil
}

// watched is a connection that fails when nothing moves.
type watched struct {
	net.Conn
	idle time.Duration
}

func (c *watched) Read(p []byte) (int, error) {
	if err := c.Conn.SetReadDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write moves the deadline of reading, too: while a request is sent, its answer is
// being waited for.
func (c *watched) Write(p []byte) (int, error) {
	if err := c.Conn.SetDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
