package dash

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
)

// guard decides who may see the page and who may ask for anything.
//
// A page of this machine alone is protected by the address. What remains are other
// web pages in the same browser: they cannot read it, as they get no leave by CORS;
// they cannot get at it by a name of theirs that leads to 127.0.0.1, as the name is
// checked; and they cannot send commands, as a command must come from this very
// origin. Any other address needs a token as well.
type guard struct {
	// token is empty for an address of this machine alone.
	token string
	// hosts are names by which the page may be called.
	hosts []string
	// cookie is the name of the cookie with the token: of its own for each port, as
	// browsers send cookies to all ports of a host.
	cookie string
}

func newGuard(address string, at *net.TCPAddr) (*guard, error) {
	g := &guard{hosts: []string{"localhost", "127.0.0.1", "::1"}, cookie: fmt.Sprintf("brood_token_%d", at.Port)}
	if at.IP.IsLoopback() {
		return g, nil
	}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return nil, fmt.Errorf("dash: make a token: %w", err)
	}
	g.token = base64.RawURLEncoding.EncodeToString(secret)
	if host, _, err := net.SplitHostPort(address); err == nil && host != "" {
		g.hosts = append(g.hosts, strings.ToLower(host))
	}
	if name, err := os.Hostname(); err == nil {
		g.hosts = append(g.hosts, strings.ToLower(name))
	}
	return g, nil
}

// url of the page, as it is printed once.
func (g *guard) url(at *net.TCPAddr) string {
	host := at.IP.String()
	if at.IP.IsUnspecified() {
		host = g.hosts[len(g.hosts)-1] // the name of the machine
	}
	u := url.URL{Scheme: "http", Host: net.JoinHostPort(host, fmt.Sprint(at.Port)), Path: "/"}
	if g.token != "" {
		u.RawQuery = url.Values{"token": {g.token}}.Encode()
	}
	return u.String()
}

// The policy for the page's content: its own files, its own server, nothing inline.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// wrap protects a handler.
func (g *guard) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !g.hostAllowed(r.Host) {
			http.Error(w, fmt.Sprintf("This page is not served under the name %q.", r.Host), http.StatusMisdirectedRequest)
			return
		}
		if !sameOrigin(r) {
			http.Error(w, "This request comes from another page.", http.StatusForbidden)
			return
		}
		if g.token != "" && !g.admit(w, r) {
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostAllowed says whether the page may be called by a name. The port may be another:
// that of a tunnel. Behind a token any numeric address may be used, as this machine
// may have many; a name that somebody else's DNS answers for is not numeric.
func (g *guard) hostAllowed(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.Trim(name, "[]"))
	for _, allowed := range g.hosts {
		if name == allowed {
			return true
		}
	}
	_, err := netip.ParseAddr(name)
	return g.token != "" && err == nil
}

// sameOrigin refuses what another page has sent. Whatever changes something must say
// that it comes from this one; browsers always say so.
func sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if origin == "" {
		site := r.Header.Get("Sec-Fetch-Site")
		// A link that somebody follows to the page is fine; it changes nothing.
		return reads && (site == "" || site == "same-origin" || site == "none" || r.URL.Path == "/")
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host) && (u.Scheme == "http" || u.Scheme == "https")
}

// admit lets in whoever has the token: in the URL, which is answered by a cookie and
// the page's plain address, or in that cookie.
func (g *guard) admit(w http.ResponseWriter, r *http.Request) bool {
	if given := r.URL.Query().Get("token"); given != "" && r.URL.Path == "/" {
		if g.matches(given) {
			http.SetCookie(w, &http.Cookie{Name: g.cookie, Value: g.token, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return false
		}
	} else if c, err := r.Cookie(g.cookie); err == nil && g.matches(c.Value) {
		return true
	}
	http.Error(w, "This page needs the token that brood printed when it started: open the URL that ends in ?token=...", http.StatusUnauthorized)
	return false
}

// matches compares in a time that tells nothing of the token, its length included.
func (g *guard) matches(given string) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(g.token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
