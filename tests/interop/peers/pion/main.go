// Command pion is a WebRTC peer for tests, made of pion, the stack that livekit-server is built on.
//
// It answers an offer, or with -offer makes one; descriptions travel as lines of base64 over stdin and stdout, with all
// candidates inside. What it does on a data channel depends on the label, whoever opened it:
//
//	sink    counts bytes, and answers any text message with the count so far
//	flood   sends -fn messages of -fsize bytes, then the text "end"
//	(else)  echoes every message
//
// It logs to stderr, and ends when stdin does.
package main

import (
	"bufio"
	"encoding/base64"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/pion/webrtc/v4"
)

type options struct {
	offer, lossy         bool
	open                 string
	role                 string
	lite, nohvr, zerosum bool
	tcp, keylog          bool
	ip                   string
	floodSize, floodMany int
}

func parseOptions() options {
	var o options
	flag.BoolVar(&o.offer, "offer", false, "make the offer and read the answer; otherwise the other way round")
	flag.StringVar(&o.open, "open", "echo", "labels of the channels that an offerer opens, with commas")
	flag.BoolVar(&o.lossy, "lossy", false, "open them unordered and without retransmissions")
	flag.StringVar(&o.role, "role", "", "DTLS role of an answerer: active or passive; else pion's own choice")
	flag.BoolVar(&o.lite, "lite", false, "be an ICE-lite agent")
	flag.BoolVar(&o.nohvr, "nohvr", false, "as a DTLS server, send no HelloVerifyRequest")
	flag.BoolVar(&o.zerosum, "zerosum", false, "offer SCTP zero checksums (RFC 9653)")
	flag.BoolVar(&o.tcp, "tcp", false, "offer passive ICE-TCP candidates only")
	flag.BoolVar(&o.keylog, "keylog", false, "write DTLS secrets to stderr, in the format of NSS")
	flag.StringVar(&o.ip, "ip", "127.0.0.1", "the only local address to use; empty: all there are")
	flag.IntVar(&o.floodSize, "fsize", 16384, "bytes in a message of a flood")
	flag.IntVar(&o.floodMany, "fn", 1000, "messages of a flood")
	flag.Parse()
	return o
}

func main() {
	log.SetFlags(log.Lmicroseconds)
	options := parseOptions()
	pc, err := newPeerConnection(options)
	if err != nil {
		log.Fatal(err)
	}
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) { log.Println("state", state) })
	pc.OnDataChannel(func(channel *webrtc.DataChannel) { serve(channel, options) })

	lines := bufio.NewReaderSize(os.Stdin, 1<<16)
	if options.offer {
		err = makeOffer(pc, lines, options)
	} else {
		err = answerOffer(pc, lines)
	}
	if err != nil {
		log.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, lines)
	_ = pc.Close()
}

func makeOffer(pc *webrtc.PeerConnection, lines *bufio.Reader, o options) error {
	init := &webrtc.DataChannelInit{}
	if o.lossy {
		ordered, retransmits := false, uint16(0)
		init.Ordered, init.MaxRetransmits = &ordered, &retransmits
	}
	for _, label := range strings.Split(o.open, ",") {
		channel, err := pc.CreateDataChannel(label, init)
		if err != nil {
			return err
		}
		serve(channel, o)
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		return err
	}
	if err := publish(pc, offer); err != nil {
		return err
	}
	answer, err := readDescription(lines)
	if err != nil {
		return err
	}
	return pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer})
}

func answerOffer(pc *webrtc.PeerConnection, lines *bufio.Reader) error {
	offer, err := readDescription(lines)
	if err != nil {
		return err
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return err
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return err
	}
	return publish(pc, answer)
}

// publish gathers all candidates for our description, and prints it.
func publish(pc *webrtc.PeerConnection, description webrtc.SessionDescription) error {
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(description); err != nil {
		return err
	}
	<-gathered
	_, err := fmt.Println(base64.StdEncoding.EncodeToString([]byte(pc.LocalDescription().SDP)))
	return err
}

func readDescription(lines *bufio.Reader) (string, error) {
	line, err := lines.ReadString('\n')
	if err != nil {
		return "", err
	}
	sdp, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
	return string(sdp), err
}
