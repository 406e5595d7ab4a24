package fcmsim

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	keyID     = "fcmsim-key-1"
	wantScope = "https://www.googleapis.com/auth/firebase.messaging"
	anyScope  = "https://www.googleapis.com/auth/cloud-platform" // which holds that one
)

// account is the service account of a project.
type account struct {
	project string
	email   string
	key     *rsa.PrivateKey
}

// bearer is an access token that was granted.
type bearer struct {
	project string
	until   time.Time
}

// Credentials is the key file of the first project's service account. Its token_uri
// is the simulator.
func (s *Server) Credentials() []byte { return s.CredentialsOf(s.opts.ProjectID) }

// CredentialsOf is the key file of a project's service account; nil for a project
// that the simulator does not serve.
func (s *Server) CredentialsOf(project string) []byte {
	i := slices.IndexFunc(s.accounts, func(a account) bool { return a.project == project })
	if i < 0 {
		return nil
	}
	a := s.accounts[i]
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil // a key that we made ourselves can be marshalled
	}
	b, _ := json.Marshal(map[string]string{ // strings
		"type":           "service_account",
		"project_id":     a.project,
		"private_key_id": keyID,
		"private_key":    string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"client_email":   a.email,
		"client_id":      "10000000000000000000" + strconv.Itoa(i+1),
		"auth_uri":       s.url + "/auth",
		"token_uri":      s.url + "/token",
	})
	return b
}

// ExpireTokens makes every access token issued so far invalid.
func (s *Server) ExpireTokens() {
	s.bearerMu.Lock()
	defer s.bearerMu.Unlock()
	clear(s.bearers)
}

// TokensIssued counts the access tokens issued.
func (s *Server) TokensIssued() int { return int(s.issued.Load()) }

// token is the OAuth endpoint: RFC 7523, an assertion for an access token.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if r.PostFormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		s.refuseToken(w, "unsupported_grant_type", "Invalid grant_type: "+r.PostFormValue("grant_type"))
		return
	}
	a, code, why := s.checkAssertion(r.PostFormValue("assertion"))
	if code != "" {
		s.refuseToken(w, code, why)
		return
	}
	granted := "ya29.sim-" + strconv.FormatInt(s.issued.Add(1), 10)
	now := s.now()
	s.bearerMu.Lock()
	for b, held := range s.bearers {
		if !now.Before(held.until) {
			delete(s.bearers, b)
		}
	}
	s.bearers[granted] = bearer{a.project, now.Add(s.opts.TokenLife)}
	s.bearerMu.Unlock()
	s.metrics.tokens.WithLabelValues("granted").Inc()
	answer(w, http.StatusOK, map[string]any{
		"access_token": granted, "token_type": "Bearer", "expires_in": int(s.opts.TokenLife / time.Second),
	})
}

// checkAssertion finds whose assertion it is, or OAuth's code for what is wrong and
// Google's words for it.
func (s *Server) checkAssertion(assertion string) (a account, code, why string) {
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(assertion, claims,
		func(t *jwt.Token) (any, error) {
			issuer, _ := claims.GetIssuer()
			i := slices.IndexFunc(s.accounts, func(a account) bool { return a.email == issuer })
			switch {
			case i < 0:
				return nil, errors.New("account not found")
			case t.Header["kid"] != keyID:
				return nil, errors.New("unknown key id")
			}
			a = s.accounts[i]
			return &a.key.PublicKey, nil
		},
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithAudience(s.url+"/token"),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithTimeFunc(s.now), jwt.WithLeeway(30*time.Second))
	if err != nil {
		return a, "invalid_grant", "Invalid JWT: " + err.Error()
	}
	exp, _ := claims.GetExpirationTime()
	iat, err := claims.GetIssuedAt()
	if err != nil || iat == nil || exp.Sub(iat.Time) > time.Hour+time.Minute {
		return a, "invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim."
	}
	scope, _ := claims["scope"].(string)
	if scopes := strings.Fields(scope); !slices.Contains(scopes, wantScope) && !slices.Contains(scopes, anyScope) {
		return a, "invalid_scope", "Invalid OAuth scope or ID token audience provided."
	}
	return a, "", ""
}

func (s *Server) refuseToken(w http.ResponseWriter, code, why string) {
	s.metrics.tokens.WithLabelValues(code).Inc()
	answer(w, http.StatusBadRequest, map[string]string{"error": code, "error_description": why})
}

// authorize finds what a request may not do.
func (s *Server) authorize(r *http.Request, project string) (fault, bool) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		return noCredentials, false
	}
	s.bearerMu.RLock()
	b, ok := s.bearers[token]
	s.bearerMu.RUnlock()
	switch {
	case !ok || !s.now().Before(b.until):
		return unauthenticated, false
	case b.project == project:
		return fault{}, true
	case slices.ContainsFunc(s.accounts, func(a account) bool { return a.project == project }):
		return forbidden(project), false
	}
	return noProject, false
}
