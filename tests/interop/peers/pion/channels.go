package main

import (
	"log"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/pion/webrtc/v4"
)

const (
	floodDelay  = 200 * time.Millisecond // so that the other side has seen the channel open
	floodBuffer = 4 << 20                // bytes queued in the SCTP association at most
)

// serve does what the label of a channel says.
func serve(channel *webrtc.DataChannel, o options) {
	channel.OnOpen(func() {
		log.Println("open", channel.Label())
		if channel.Label() == "flood" {
			go flood(channel, o)
		}
	})
	channel.OnClose(func() { log.Println("closed", channel.Label()) })
	switch channel.Label() {
	case "sink":
		sink(channel)
	case "flood":
	default:
		echo(channel)
	}
}

func echo(channel *webrtc.DataChannel) {
	channel.OnMessage(func(message webrtc.DataChannelMessage) {
		if message.IsString {
			report(channel.SendText(string(message.Data)))
		} else {
			report(channel.Send(message.Data))
		}
	})
}

func sink(channel *webrtc.DataChannel) {
	var total atomic.Int64
	channel.OnMessage(func(message webrtc.DataChannelMessage) {
		if message.IsString {
			report(channel.SendText(strconv.FormatInt(total.Load(), 10)))
		} else {
			total.Add(int64(len(message.Data)))
		}
	})
}

func flood(channel *webrtc.DataChannel, o options) {
	room := make(chan struct{}, 1)
	channel.SetBufferedAmountLowThreshold(floodBuffer / 2)
	channel.OnBufferedAmountLow(func() {
		select {
		case room <- struct{}{}:
		default:
		}
	})
	time.Sleep(floodDelay)
	message := make([]byte, o.floodSize)
	for range o.floodMany {
		if channel.BufferedAmount() > floodBuffer {
			<-room
		}
		if err := channel.Send(message); err != nil {
			report(err)
			return
		}
	}
	report(channel.SendText("end"))
}

// report logs an error that belongs to a test: the other side went away, which it is free to do.
func report(err error) {
	if err != nil {
		log.Println("send:", err)
	}
}
