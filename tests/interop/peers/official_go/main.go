// A participant with LiveKit's own Go SDK, told what to do by JSON lines: the same ones as official_python.py takes, where
// the SDK can do it. It knows no data tracks, and does not say whether a packet came reliably.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/livekit/server-sdk-go/v2/e2ee"
	"github.com/pion/webrtc/v4"
)

type message map[string]any

type command struct {
	ID       int    `json:"id"`
	Do       string `json:"do"`
	URL      string `json:"url"`
	Token    string `json:"token"`
	Single   *bool  `json:"single"`
	Key      string `json:"key"`
	Text     string `json:"text"`
	Topic    string `json:"topic"`
	Reliable *bool  `json:"reliable"`
	To       any    `json:"to"` // one identity for a call, several for a packet
	Code     uint32 `json:"code"`
	Digit    string `json:"digit"`
	Pieces   int    `json:"pieces"`
	ReplyTo  string `json:"reply_to"`
	Size     int    `json:"size"`
	Method   string `json:"method"`
	Payload  string `json:"payload"`
}

var (
	room   *lksdk.Room
	output sync.Mutex
)

func emit(line message) {
	output.Lock()
	defer output.Unlock()
	encoder := json.NewEncoder(os.Stdout)
	if err := encoder.Encode(line); err != nil {
		panic(err)
	}
}

func content(size int) []byte {
	data := make([]byte, size)
	for index := range data {
		data[index] = byte(index % 251)
	}
	return data
}

func identities(to any) []string {
	list, _ := to.([]any)
	var found []string
	for _, identity := range list {
		found = append(found, identity.(string))
	}
	return found
}

func connect(c command) (message, error) {
	callback := lksdk.NewRoomCallback()
	callback.OnParticipantConnected = func(p *lksdk.RemoteParticipant) {
		emit(message{"event": "participant_connected", "identity": p.Identity()})
	}
	callback.OnParticipantDisconnected = func(p *lksdk.RemoteParticipant) {
		emit(message{"event": "participant_disconnected", "identity": p.Identity()})
	}
	callback.OnAttributesChanged = func(_ map[string]string, p lksdk.Participant) {
		emit(message{"event": "attributes", "identity": p.Identity(), "attributes": p.Attributes()})
	}
	callback.OnDataPacket = func(packet lksdk.DataPacket, params lksdk.DataReceiveParams) {
		switch received := packet.(type) {
		case *lksdk.UserDataPacket:
			emit(message{
				"event": "data", "text": string(received.Payload), "topic": received.Topic,
				"reliable": nil, "identity": params.SenderIdentity,
			})
		case *livekit.SipDTMF:
			emit(message{"event": "dtmf", "code": received.Code, "digit": received.Digit})
		}
	}
	var options []lksdk.ConnectOption
	if c.Single == nil || *c.Single {
		options = append(options, lksdk.WithSinglePeerConnection())
	}
	if c.Key != "" {
		encryption, err := encrypted(c.Key)
		if err != nil {
			return nil, err
		}
		options = append(options, encryption)
	}
	var err error
	room, err = lksdk.ConnectToRoomWithToken(c.URL, c.Token, callback, options...)
	if err != nil {
		return nil, err
	}
	return message{"identity": room.LocalParticipant.Identity()}, waitForChannel()
}

// What the SDK sends before its channel is open is lost without a word, also when it says that it is connected.
func waitForChannel() error {
	for range 1000 {
		for _, entry := range room.LocalParticipant.GetPublisherPeerConnection().GetStats() {
			channel, ok := entry.(webrtc.DataChannelStats)
			if ok && channel.Label == "_reliable" && channel.State == webrtc.DataChannelStateOpen {
				return nil
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.New("the channel for reliable packets does not open")
}

func encrypted(key string) (lksdk.ConnectOption, error) {
	keys := e2ee.NewExternalKeyProvider()
	if err := keys.SetKeyFromPassphrase(key, 0); err != nil {
		return nil, err
	}
	return lksdk.WithDataEncryption(&lksdk.EncryptionOptions{KeyProvider: keys}), nil
}

func publishData(c command) error {
	return room.LocalParticipant.PublishDataPacket(
		lksdk.UserData([]byte(c.Text)),
		lksdk.WithDataPublishTopic(c.Topic),
		lksdk.WithDataPublishReliable(c.Reliable == nil || *c.Reliable),
		lksdk.WithDataPublishDestination(identities(c.To)),
	)
}

func listen(c command) error {
	err := room.RegisterTextStreamHandler(c.Topic, func(reader *lksdk.TextStreamReader, identity string) {
		text := reader.ReadAll()
		emit(message{
			"event": "text", "text": text, "topic": reader.Info.Topic, "identity": identity,
			"attributes": reader.Info.Attributes, "stream_id": reader.Info.Id,
		})
	})
	if err != nil {
		return err
	}
	return room.RegisterByteStreamHandler(c.Topic, func(reader *lksdk.ByteStreamReader, identity string) {
		data := reader.ReadAll()
		emit(message{
			"event": "bytes", "size": len(data), "intact": string(data) == string(content(len(data))),
			"name": reader.Info.Name, "topic": reader.Info.Topic, "identity": identity,
		})
	})
}

// In so many pieces, or at once. A writer closes when the last piece is written: Close drops what is queued.
func sendText(c command) message {
	options := lksdk.StreamTextOptions{Topic: c.Topic, Attributes: map[string]string{"k": "v"}}
	if c.ReplyTo != "" {
		options.ReplyToStreamId = &c.ReplyTo
	}
	if c.Pieces == 0 {
		return message{"stream_id": room.LocalParticipant.SendText(c.Text, options).Id}
	}
	writer := room.LocalParticipant.StreamText(options)
	letters := []rune(c.Text)
	for _, piece := range pieces(len(letters), c.Pieces) {
		wait(func(done *func()) { writer.Write(string(letters[piece[0]:piece[1]]), done) })
	}
	writer.Close()
	return message{"stream_id": writer.Info.Id}
}

func sendBytes(c command) {
	name := "bytes.bin"
	writer := room.LocalParticipant.StreamBytes(lksdk.StreamBytesOptions{
		Topic: c.Topic, TotalSize: uint64(c.Size), FileName: &name,
	})
	data := content(c.Size)
	for _, piece := range pieces(c.Size, max(1, c.Pieces)) {
		wait(func(done *func()) { writer.Write(data[piece[0]:piece[1]], done) })
	}
	writer.Close()
}

func pieces(size, count int) [][2]int {
	var found [][2]int
	step := max(1, (size+count-1)/count)
	for start := 0; start < size; start += step {
		found = append(found, [2]int{start, min(size, start+step)})
	}
	return found
}

func wait(begin func(done *func())) {
	finished := make(chan struct{})
	done := func() { close(finished) }
	begin(&done)
	<-finished
}

func serve(c command) error {
	return room.RegisterRpcMethod(c.Method, func(call lksdk.RpcInvocationData) (string, error) {
		switch call.Payload {
		case "refuse":
			data := "data"
			return "", lksdk.NewRpcError(101, "refused", &data)
		case "break":
			return "", errors.New("secret")
		}
		return call.CallerIdentity + ": " + call.Payload, nil
	})
}

func perform(c command) (message, error) {
	result, err := room.LocalParticipant.PerformRpc(lksdk.PerformRpcParams{
		DestinationIdentity: c.To.(string), Method: c.Method, Payload: c.Payload,
	})
	var refusal *lksdk.RpcError
	if errors.As(err, &refusal) {
		data := ""
		if refusal.Data != nil {
			data = *refusal.Data
		}
		return message{"code": refusal.Code, "message": refusal.Message, "data": data}, nil
	}
	if err != nil {
		return nil, err
	}
	return message{"result": *result}, nil
}

func obey(c command) (message, error) {
	switch c.Do {
	case "connect":
		return connect(c)
	case "publish_data":
		return message{}, publishData(c)
	case "publish_dtmf":
		return message{}, room.LocalParticipant.PublishDTMF(c.Code, c.Digit)
	case "listen":
		return message{}, listen(c)
	case "send_text":
		return sendText(c), nil
	case "send_bytes":
		sendBytes(c)
		return message{}, nil
	case "serve":
		return message{}, serve(c)
	case "perform":
		return perform(c)
	case "set_attributes":
		room.LocalParticipant.SetAttributes(map[string]string{"k": c.Text})
		return message{}, nil
	case "leave":
		room.Disconnect()
		return message{}, nil
	}
	return nil, fmt.Errorf("there is no command %q", c.Do)
}

func main() {
	lksdk.SetLogger(logger.GetDiscardLogger())
	emit(message{"event": "ready"})
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			panic(err)
		}
		go func() {
			reply, err := obey(c)
			if err != nil {
				reply = message{"error": err.Error()}
			}
			reply["id"] = c.ID
			emit(reply)
		}()
	}
}
