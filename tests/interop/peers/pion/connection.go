package main

import (
	"fmt"
	"net"
	"os"

	"github.com/pion/dtls/v3/pkg/crypto/elliptic"
	"github.com/pion/webrtc/v4"
)

// newPeerConnection makes one that gathers host candidates of a single address, and looks like livekit-server's to us.
func newPeerConnection(o options) (*webrtc.PeerConnection, error) {
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetDTLSEllipticCurves(elliptic.X25519, elliptic.P384, elliptic.P256)
	settings.SetLite(o.lite)
	settings.EnableSCTPZeroChecksum(o.zerosum)
	settings.SetDTLSInsecureSkipHelloVerify(o.nohvr)
	if o.keylog {
		settings.SetDTLSKeyLogWriter(os.Stderr)
	}
	if o.ip != "" {
		only := net.ParseIP(o.ip)
		settings.SetIPFilter(func(ip net.IP) bool { return ip.Equal(only) })
	}
	if err := setTransport(&settings, o); err != nil {
		return nil, err
	}
	if err := setRole(&settings, o.role); err != nil {
		return nil, err
	}
	return webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
}

func setTransport(settings *webrtc.SettingEngine, o options) error {
	if !o.tcp {
		settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
		return nil
	}
	listener, err := net.Listen("tcp4", net.JoinHostPort(o.ip, "0"))
	if err != nil {
		return err
	}
	settings.SetICETCPMux(webrtc.NewICETCPMux(nil, listener, 64))
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
	return nil
}

func setRole(settings *webrtc.SettingEngine, role string) error {
	switch role {
	case "":
		return nil
	case "active":
		return settings.SetAnsweringDTLSRole(webrtc.DTLSRoleClient)
	case "passive":
		return settings.SetAnsweringDTLSRole(webrtc.DTLSRoleServer)
	}
	return fmt.Errorf("-role is active or passive, not %q", role)
}
