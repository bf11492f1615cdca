// Command pion is one end of a pair of data channels, on pion: the same commands as the Python workers beside it.
//
// A line of JSON in on stdin, a line of JSON out on stdout. The end of stdin ends it.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"syscall"
)

type command struct {
	Op      string  `json:"op"`
	SDP     string  `json:"sdp"`
	Channel string  `json:"channel"`
	Size    int     `json:"size"`
	Count   int     `json:"count"`
	Sent    int     `json:"sent"`
	Seconds float64 `json:"seconds"`
	QuietS  float64 `json:"quiet_s"`
}

type answer map[string]any

func main() {
	lines := bufio.NewReaderSize(os.Stdin, 1<<16)
	out := json.NewEncoder(os.Stdout)
	var current *end
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var c command
		if err := json.Unmarshal(line, &c); err != nil {
			log.Fatal(err)
		}
		result, err := do(&current, c)
		if err != nil {
			log.Println(c.Op, err)
			result = answer{"error": err.Error()}
		}
		if err := out.Encode(result); err != nil {
			log.Fatal(err)
		}
	}
}

func do(current **end, c command) (answer, error) {
	if c.Op == "offer" || c.Op == "answer" {
		if *current != nil {
			_ = (*current).pc.Close()
		}
		fresh, err := newEnd()
		if err != nil {
			return nil, err
		}
		*current = fresh
	}
	e := *current
	switch c.Op {
	case "offer":
		return e.offer()
	case "answer":
		return e.answer(c.SDP)
	case "accept":
		return answer{}, e.accept(c.SDP)
	case "wait_open":
		e.open.Wait()
		return answer{}, nil
	case "expect":
		e.tally = newTally(c.Size, c.Channel == "reliable")
		e.receive(e.tally.take)
		return answer{}, nil
	case "send":
		return e.send(c)
	case "received":
		return e.received(c), nil
	case "echo":
		e.receive(nil)
		return answer{}, nil
	case "ping":
		return e.ping(c)
	case "usage":
		return usage()
	}
	return nil, fmt.Errorf("no such command: %q", c.Op)
}

// usage is the CPU time of all threads, user and system.
func usage() (answer, error) {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return nil, err
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return answer{"cpu_s": seconds(used.Utime) + seconds(used.Stime)}, nil
}
