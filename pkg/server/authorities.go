package server

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/disk"
)

// authorities is a file of the certificates that a probe trusts, and the key that names it.
type authorities struct{ file, path string }

// authoritiesOf are those of a configuration, each as often as it is named.
func authoritiesOf(cfg *config.Config) (all []authorities) {
	for i := range cfg.Pools {
		for n, probe := range cfg.Pools[i].Health.Probes() {
			t := &probe.TLS
			if !t.Enabled || !t.Verify || t.CAFile == "" {
				continue
			}
			path := fmt.Sprintf("pool[%d].health.tls.ca_file", i)
			if n > 0 {
				path = fmt.Sprintf("pool[%d].health.also[%d].tls.ca_file", i, n-1)
			}
			all = append(all, authorities{t.CAFile, path})
		}
	}
	return all
}

// problem tells that the file cannot be used, and where it is named.
func (a authorities) problem(cfg *config.Config, err error) config.Problem {
	file, line := cfg.Where(a.path)
	return config.Problem{File: file, Line: line, Path: a.path, Text: err.Error()}
}

// CheckAuthorities reads the files of certificates that probes trust and answers every
// problem of them, as config.Problems.
func CheckAuthorities(cfg *config.Config) error {
	var wrong config.Problems
	for _, a := range authoritiesOf(cfg) {
		if _, err := authoritiesOnDisk(a.file); err != nil {
			wrong = append(wrong, a.problem(cfg, err))
		}
	}
	if wrong == nil {
		return nil
	}
	return wrong
}

// authoritiesOnDisk reads a file of certificates for somebody who has the time to wait.
func authoritiesOnDisk(file string) (*x509.CertPool, error) {
	return loadAuthorities(context.Background(), &disk.Disk{}, file)
}

func loadAuthorities(ctx context.Context, d *disk.Disk, file string) (*x509.CertPool, error) {
	pem, err := readFile(ctx, d, file, maxAuthoritiesSize)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read %s: %w", file, errNoCertificate)
	}
	return pool, nil
}

var errNoCertificate = errors.New("no certificate in PEM")
