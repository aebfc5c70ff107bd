package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// newCertificate makes a certificate for this machine that is its own authority.
func newCertificate() (*tls.Config, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, "", err
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, string(ca), nil
}

// delay forwards connections to addr as if it were a round trip away: half of it for what goes either way, and a whole
// one before the first byte, which is TCP's handshake.
func delay(l net.Listener, addr string, roundTrip time.Duration) {
	for {
		near, err := l.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", addr)
		if err != nil {
			_ = near.Close() // it cannot be served
			continue
		}
		go lag(far, near, roundTrip, roundTrip/2)
		go lag(near, far, 0, roundTrip/2)
	}
}

// parcel is bytes on their way.
type parcel struct {
	due   time.Time
	bytes []byte
}

// lag copies src to dst; every byte takes as long, the first ones also the time that the connection took.
func lag(dst, src net.Conn, handshake, oneWay time.Duration) {
	established := time.Now().Add(handshake)
	road := make(chan parcel, 1024)
	go func() {
		defer close(road)
		for {
			b := make([]byte, 32<<10)
			n, err := src.Read(b)
			sent := time.Now()
			if sent.Before(established) {
				sent = established
			}
			if n > 0 {
				road <- parcel{sent.Add(oneWay), b[:n]}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range road {
		time.Sleep(time.Until(p.due))
		if _, err := dst.Write(p.bytes); err != nil {
			break
		}
	}
	_ = dst.Close()       // the other direction notices
	for p := range road { // so that its reader ends
		_ = p
	}
}
