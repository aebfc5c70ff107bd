package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"drawbridge/cmd/drawbridge-guard/internal/policy"
)

// config is the configuration file. docs/guard.md describes every key.
type config struct {
	Listen        string   `yaml:"listen"`
	Admin         string   `yaml:"admin"`
	TLS           tlsFiles `yaml:"tls"`
	Upstream      string   `yaml:"upstream"`
	Authorization string   `yaml:"upstream_authorization_file"`
	Resource      string   `yaml:"resource"`
	Name          string   `yaml:"name"`
	Documentation string   `yaml:"documentation"`
	Hosts         []string `yaml:"hosts"`
	Origins       []string `yaml:"origins"`
	StripHeaders  []string `yaml:"strip_headers"`

	Issuers      []issuer      `yaml:"issuers"`
	Scopes       []string      `yaml:"scopes"`
	Skew         time.Duration `yaml:"skew"`
	StaticTokens []staticToken `yaml:"static_tokens"`

	SessionKeys []string       `yaml:"session_key_files"`
	Identity    identity       `yaml:"identity"`
	Policy      policySource   `yaml:"policy"`
	Limits      limits         `yaml:"limits"`
	Audit       auditConfig    `yaml:"audit"`
	Traces      string         `yaml:"traces"`
	Drain       *time.Duration `yaml:"drain"`
}

type tlsFiles struct {
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

type issuer struct {
	URL          string        `yaml:"url"`
	Audiences    []string      `yaml:"audiences"`
	Groups       []string      `yaml:"groups"`
	ClientID     string        `yaml:"client_id"`
	ClientSecret string        `yaml:"client_secret_file"`
	Opaque       bool          `yaml:"opaque"`
	Freshness    time.Duration `yaml:"freshness"`
	Mirror       *mirror       `yaml:"mirror"`
}

// mirror is a [guard.Mirror].
type mirror struct {
	ClientID     string   `yaml:"client_id"`
	RedirectURIs []string `yaml:"redirect_uris"`
	AssumePKCE   bool     `yaml:"assume_pkce"`
}

type staticToken struct {
	Name   string    `yaml:"name"`
	SHA256 string    `yaml:"sha256"`
	Until  time.Time `yaml:"until"`
	Scopes []string  `yaml:"scopes"`
	Groups []string  `yaml:"groups"`
}

type identity struct {
	Key      string `yaml:"key_file"`
	Audience string `yaml:"audience"`
}

// policySource is either rules or a file in Cedar.
type policySource struct {
	Cedar        string `yaml:"cedar_file"`
	policy.Rules `yaml:",inline"`
}

type auditConfig struct {
	Path       string `yaml:"path"`
	MaxSize    size   `yaml:"max_size"`
	Sync       bool   `yaml:"sync"`
	MaxWaiting int    `yaml:"max_waiting"`
	Arguments  bool   `yaml:"arguments"`
}

// size is a number of bytes, such as 4MiB.
type size int64

// UnmarshalYAML implements [yaml.Unmarshaler].
func (s *size) UnmarshalYAML(node *yaml.Node) error {
	text, factor := node.Value, int64(1)
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if number, ok := strings.CutSuffix(text, unit); ok {
			text, factor = strings.TrimSpace(number), 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 {
		return fmt.Errorf("line %d: size %.40q: want a number, or one with KiB, MiB or GiB", node.Line, node.Value)
	}
	*s = size(n * factor)
	return nil
}

// flags are the command line, which comes before the file.
type flags struct {
	file, listen, admin, upstream, resource, audit string
	issuers                                        []string
}

func (f *flags) register(set *pflag.FlagSet) {
	set.StringVar(&f.file, "config", "", "configuration `file` (YAML)")
	set.StringVar(&f.upstream, "upstream", "", "`URL` of the MCP server to protect")
	set.StringVar(&f.resource, "resource", "", "public `URL` of the server, as clients are configured with it")
	set.StringArrayVar(&f.issuers, "issuer", nil, "`URL` of the identity provider; may be given several times")
	set.StringVar(&f.listen, "listen", "", "`address` to serve on (default 127.0.0.1:8088)")
	set.StringVar(&f.admin, "admin", "", "`address` for metrics, health and the identity keys")
	set.StringVar(&f.audit, "audit", "", "`file` to write decisions to; - is standard output")
}

// load reads the file and puts the flags over it.
func (f *flags) load() (*config, error) {
	c := &config{}
	if f.file != "" {
		text, err := os.ReadFile(f.file)
		if err != nil {
			return nil, fmt.Errorf("configuration: %w", err)
		}
		if err := c.parse(text); err != nil {
			return nil, fmt.Errorf("configuration %s: %w", f.file, err)
		}
	}
	for value, to := range map[*string]*string{
		&f.listen: &c.Listen, &f.admin: &c.Admin, &f.upstream: &c.Upstream, &f.resource: &c.Resource, &f.audit: &c.Audit.Path,
	} {
		if *value != "" {
			*to = *value
		}
	}
	if len(f.issuers) > 0 {
		c.Issuers = nil
		for _, url := range f.issuers {
			c.Issuers = append(c.Issuers, issuer{URL: url})
		}
	}
	return c, c.complete()
}

// parse is strict: a key that is not known is a rule that somebody believes in and that does not hold.
func (c *config) parse(text []byte) error {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return plainYAML(err)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return errors.New("it holds more than one document")
	}
	return nil
}

var unknownKey = regexp.MustCompile(`line (\d+): field (\S+) not found in type \S+`)

// plainYAML says what is wrong without the names of Go types.
func plainYAML(err error) error {
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "yaml: "), "unmarshal errors:\n")
	text = unknownKey.ReplaceAllString(text, `line $1: unknown key "$2"`)
	return errors.New(strings.Join(strings.Fields(strings.ReplaceAll(text, "\n", ";")), " "))
}

// Defaults.
const (
	defaultListen = "127.0.0.1:8088"
	defaultDrain  = 30 * time.Second
)

// complete fills in defaults and says what is missing.
func (c *config) complete() error {
	if c.Listen == "" {
		c.Listen = defaultListen
	}
	if c.Drain == nil {
		drain := defaultDrain
		c.Drain = &drain
	}
	for name, value := range map[string]string{"upstream": c.Upstream, "resource": c.Resource} {
		if value == "" {
			return hinted{fmt.Errorf("no %s", name), "give --" + name + " URL, or " + name + ": in the configuration file"}
		}
	}
	switch {
	case len(c.Issuers) == 0:
		return hinted{errors.New("no issuer"), "give --issuer URL, or issuers: in the configuration file"}
	case (c.TLS.Certificate == "") != (c.TLS.Key == ""):
		return errors.New("tls: want both certificate and key, or neither")
	case c.Policy.Cedar != "" && (c.Policy.Connect != nil || len(c.Policy.Allow) > 0):
		return errors.New("policy: want either cedar_file or rules, not both")
	case *c.Drain < 0:
		return fmt.Errorf("drain %s: want a time such as 30s", *c.Drain)
	}
	return nil
}
