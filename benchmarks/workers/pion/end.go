package main

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
)

const bufferBytes = 1 << 20

// end is one peer connection with a reliable and a lossy channel.
type end struct {
	pc       *webrtc.PeerConnection
	open     sync.WaitGroup
	room     chan struct{}
	mutex    sync.Mutex
	channels map[string]*webrtc.DataChannel
	take     func([]byte) // nil: send everything back
	tally    *tally       // what the last "expect" counts
}

func newEnd() (*end, error) {
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	settings.EnableSCTPZeroChecksum(true)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	settings.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	e := &end{pc: pc, room: make(chan struct{}, 1), channels: map[string]*webrtc.DataChannel{}}
	e.open.Add(2)
	pc.OnDataChannel(e.add)
	return e, nil
}

func (e *end) add(channel *webrtc.DataChannel) {
	e.mutex.Lock()
	e.channels[channel.Label()] = channel
	e.mutex.Unlock()
	channel.SetBufferedAmountLowThreshold(bufferBytes / 2)
	channel.OnBufferedAmountLow(func() {
		select {
		case e.room <- struct{}{}:
		default:
		}
	})
	channel.OnMessage(func(message webrtc.DataChannelMessage) {
		e.mutex.Lock()
		take := e.take
		e.mutex.Unlock()
		if take != nil {
			take(message.Data)
		} else {
			_ = channel.Send(message.Data)
		}
	})
	channel.OnOpen(e.open.Done)
}

func (e *end) receive(take func([]byte)) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.take = take
}

func (e *end) channel(label string) *webrtc.DataChannel {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.channels[label]
}

func (e *end) offer() (answer, error) {
	unordered, retransmits := false, uint16(0)
	for label, init := range map[string]*webrtc.DataChannelInit{
		"reliable": nil,
		"lossy":    {Ordered: &unordered, MaxRetransmits: &retransmits},
	} {
		channel, err := e.pc.CreateDataChannel(label, init)
		if err != nil {
			return nil, err
		}
		e.add(channel)
	}
	description, err := e.pc.CreateOffer(nil)
	return e.publish(description, err)
}

func (e *end) answer(sdp string) (answer, error) {
	err := e.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: sdp})
	if err != nil {
		return nil, err
	}
	description, err := e.pc.CreateAnswer(nil)
	return e.publish(description, err)
}

func (e *end) accept(sdp string) error {
	return e.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp})
}

// publish gathers all candidates for our description, and returns it.
func (e *end) publish(description webrtc.SessionDescription, err error) (answer, error) {
	if err != nil {
		return nil, err
	}
	gathered := webrtc.GatheringCompletePromise(e.pc)
	if err := e.pc.SetLocalDescription(description); err != nil {
		return nil, err
	}
	<-gathered
	return answer{"sdp": e.pc.LocalDescription().SDP}, nil
}

func (e *end) send(c command) (answer, error) {
	channel := e.channel(c.Channel)
	sent := 0
	for until := time.Now().Add(time.Duration(c.Seconds * 1e9)); time.Now().Before(until); {
		for channel.BufferedAmount() >= bufferBytes {
			select { // the timeout is for a low mark that was passed before anybody waited for it
			case <-e.room:
			case <-time.After(time.Millisecond):
			}
		}
		for range max(1, min(256, 65536/c.Size)) { // as batch_size in messages.py
			if err := channel.Send(makeMessage(sent, c.Size)); err != nil {
				return nil, err
			}
			sent++
		}
	}
	return answer{"sent": sent}, nil
}

func (e *end) received(c command) answer {
	for {
		received, quiet := e.tally.state()
		if received >= c.Sent || quiet.Seconds() > c.QuietS {
			return e.tally.result()
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (e *end) ping(c command) (answer, error) {
	channel := e.channel("reliable")
	replies := make(chan []byte, 16)
	e.receive(func(message []byte) { replies <- message })
	times := make([]time.Duration, 0, c.Count)
	for number := range c.Count {
		message := makeMessage(number, c.Size)
		start := time.Now()
		if err := channel.Send(message); err != nil {
			return nil, err
		}
		reply := <-replies
		times = append(times, time.Since(start))
		if !bytes.Equal(reply, message) {
			return nil, errors.New("the echo is not what was sent")
		}
	}
	return answer{"p50_us": percentile(times, 50), "p99_us": percentile(times, 99)}, nil
}
