package store

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/minio/minio-go/v7"
)

// answer is the server's answer in an error, if it has one.
func answer(err error) (minio.ErrorResponse, bool) {
	return errors.AsType[minio.ErrorResponse](err)
}

// code is the code of the server's answer; empty where there is none.
func code(err error) string {
	a, _ := answer(err)
	return a.Code
}

// absent makes an error that says there is no such object fs.ErrNotExist. That there
// is no such bucket is another one.
func absent(err error) error {
	a, ok := answer(err)
	if ok && (a.Code == "NoSuchKey" || a.Code == "" && a.StatusCode == http.StatusNotFound) {
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return err
}

// transientCodes are the answers after which the same request can succeed, beside
// those whose status says so: it came in damaged or incomplete.
var transientCodes = []string{
	"BadDigest", "IncompleteBody", "InternalError", "OperationAborted", "RequestTimeout", "ServiceUnavailable", "SlowDown",
	"Throttling", "XAmzContentSHA256Mismatch",
}

// transientAnswer says whether a request that failed can succeed when it is tried
// again.
func transientAnswer(err error) bool {
	if a, ok := answer(err); ok {
		switch a.StatusCode {
		case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
			return false
		case http.StatusRequestTimeout, http.StatusTooManyRequests:
			return true
		}
		return a.StatusCode >= 500 || slices.Contains(transientCodes, a.Code)
	}
	if secureFailure(err) {
		return false
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return !dns.IsNotFound
	}
	// What is left of a request's errors is the network's. An answer that ends
	// early is one without the request around it.
	_, request := errors.AsType[*url.Error](err)
	_, network := errors.AsType[net.Error](err)
	return request || network || errors.Is(err, io.ErrUnexpectedEOF)
}

// secureFailure says whether client and server do not agree about https, which
// trying again does not change.
func secureFailure(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	return errors.Is(err, http.ErrSchemeMismatch)
}

// explain adds to an error what a reader can do about it.
func (b *bucket) explain(err error) error {
	if err == nil {
		return nil
	}
	at := b.location.address()
	if secureFailure(err) {
		return fmt.Errorf("%w; %s wants a certificate that this machine trusts (AWS_CA_BUNDLE or SSL_CERT_FILE name more of them); a server without https is endpoint=http://%s",
			err, at, b.location.endpoint)
	}
	a, ok := answer(err)
	if !ok {
		if _, network := errors.AsType[net.Error](err); network {
			return fmt.Errorf("%w; the endpoint is %s", err, at)
		}
		return err
	}
	said := fmt.Sprintf("%s said %d %s", at, a.StatusCode, a.Code)
	switch a.Code {
	case "NoSuchBucket":
		return fmt.Errorf("there is no bucket %q; make it or name one that is there (%s): %w", b.location.bucket, said, err)
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired":
		return fmt.Errorf("%w: the server does not know the credentials, or their secret is another one; they are from %s (%s): %w", ErrAccess, b.signer.source(), said, err)
	case "AccessDenied", "AllAccessDisabled", "AccountProblem":
		return fmt.Errorf("%w: the credentials, from %s, do not allow this; s3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload are needed (%s): %w",
			ErrAccess, b.signer.source(), said, err)
	case "RequestTimeTooSkewed":
		return fmt.Errorf("%w: the clock of this machine differs too much from the server's (%s): %w", ErrAccess, said, err)
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "InvalidRegion", "IllegalLocationConstraintException":
		return fmt.Errorf("the bucket is in another region%s; give it by region= or AWS_REGION (%s): %w", of(a.Region), said, err)
	}
	if strings.TrimSpace(a.Code) == "" {
		said = fmt.Sprintf("%s said %d", at, a.StatusCode)
	}
	return fmt.Errorf("%w (%s)", err, said)
}

func of(region string) string {
	if region == "" {
		return ""
	}
	return ", " + region
}
