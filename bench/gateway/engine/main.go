// A stand-in for an engine: it speaks the part of OpenAI's API that is measured, and generates words of no meaning.
//
// How fast, the model's name says: "paced..." gives so many tokens a second to each stream, as a GPU does; "burning..." as
// many as the machine can; "idle..." gives one and holds the stream until the caller goes. It listens on the loopback
// interface, prints its address, and ends when its standard input does. With -log it also takes the place of a system log:
// it reads what is sent to a socket, and drops it.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	maxBody   = 1 << 20
	maxTokens = 100_000
	maxIdle   = 10 * time.Minute
)

type engine struct {
	interval time.Duration
	number   atomic.Int64
}

type asked struct {
	Model         string `json:"model"`
	Stream        bool   `json:"stream"`
	MaxTokens     *int   `json:"max_tokens"`
	MaxCompletion *int   `json:"max_completion_tokens"`
	Options       struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

func main() {
	rate := flag.Float64("rate", 160, "tokens a second of each stream of a paced model")
	socket := flag.String("log", "", "a datagram socket to make, whose messages are dropped")
	flag.Parse()
	if *socket != "" {
		drain(*socket)
	}
	e := &engine{interval: time.Duration(float64(time.Second) / *rate)}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/v1/models", models)
	mux.HandleFunc("/v1/chat/completions", e.chat)
	mux.HandleFunc("/v1/completions", e.completions)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { log.Fatal(server.Serve(listener)) }()
	fmt.Printf("{\"address\":%q}\n", listener.Addr().String())
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func drain(path string) {
	connection, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		message := make([]byte, 1<<16)
		for {
			if _, err := connection.Read(message); err != nil {
				return
			}
		}
	}()
}

func models(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	var entries []string
	for _, kind := range []string{"paced", "burning", "idle"} {
		entries = append(entries, fmt.Sprintf(`{"id":%q,"object":"model","created":1,"owned_by":"stand-in"}`, kind))
	}
	_, _ = io.WriteString(w, `{"object":"list","data":[`+strings.Join(entries, ",")+`]}`)
}

// form is what differs between the two families: what stands before and after the text of a whole answer and of a piece of a
// stream, up to its finish reason.
type form struct {
	id, whole, piece       string
	beforeWhole, afterText string
	first, beforePiece     string
	afterPiece             string
}

var (
	chat = form{
		id: "chatcmpl-", whole: "chat.completion", piece: "chat.completion.chunk",
		beforeWhole: `"message":{"role":"assistant","content":"`, afterText: `"}`,
		first:       `"delta":{"role":"assistant","content":""}`,
		beforePiece: `"delta":{"content":"`, afterPiece: `"}`,
	}
	completion = form{
		id: "cmpl-", whole: "text_completion", piece: "text_completion",
		beforeWhole: `"text":"`, afterText: `"`,
		beforePiece: `"text":"`, afterPiece: `"`,
	}
)

func (e *engine) chat(w http.ResponseWriter, r *http.Request)        { e.answer(w, r, chat) }
func (e *engine) completions(w http.ResponseWriter, r *http.Request) { e.answer(w, r, completion) }

func (e *engine) answer(w http.ResponseWriter, r *http.Request, f form) {
	if r.Method != http.MethodPost {
		refuse(w, http.StatusMethodNotAllowed, "the method is POST")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		refuse(w, http.StatusBadRequest, "the body can't be read")
		return
	}
	var given asked
	if err := json.Unmarshal(body, &given); err != nil {
		refuse(w, http.StatusBadRequest, "the body is no JSON that is known here")
		return
	}
	count := 16
	for _, asked := range []*int{given.MaxTokens, given.MaxCompletion} {
		if asked != nil {
			count = min(max(*asked, 1), maxTokens)
		}
	}
	var interval time.Duration
	switch {
	case strings.HasPrefix(given.Model, "paced"):
		interval = e.interval
	case strings.HasPrefix(given.Model, "burning"):
	case strings.HasPrefix(given.Model, "idle"):
		interval, count = maxIdle, 2
	default:
		refuse(w, http.StatusNotFound, "there is no such model")
		return
	}
	model, _ := json.Marshal(given.Model)
	head := fmt.Sprintf(`{"id":"%s%d","object":"%%s","created":%d,"model":%s,"choices":[`,
		f.id, e.number.Add(1), time.Now().Unix(), model)
	prompt := len(body)/4 + 1
	usage := fmt.Sprintf(`"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}`, prompt, count, prompt+count)
	p := pace{began: time.Now(), interval: interval, gone: r.Context().Done(), first: interval == maxIdle}
	if given.Stream {
		stream(w, f, fmt.Sprintf(head, f.piece), usage, count, given.Options.IncludeUsage, &p)
		return
	}
	text := make([]byte, 0, 8*count)
	for i := range count {
		text = word(text, i)
	}
	if !p.wait(count) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `%s{"index":0,%s%s%s,"logprobs":null,"finish_reason":"length"}],%s`,
		fmt.Sprintf(head, f.whole), f.beforeWhole, text, f.afterText, usage)
}

// pace tells when a token is due: one at each interval from the beginning, so that a late one makes the next no later.
type pace struct {
	began    time.Time
	interval time.Duration
	gone     <-chan struct{}
	first    bool // the first one is due at once
}

// wait waits until so many tokens are due; false where the caller is gone.
func (p *pace) wait(tokens int) bool {
	if p.first {
		tokens--
	}
	left := time.Until(p.began.Add(time.Duration(tokens) * p.interval))
	if p.interval == 0 || left <= 0 {
		return true
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.gone:
		return false
	}
}

// stream writes each piece by itself, as an engine does.
func stream(w http.ResponseWriter, f form, head, usage string, count int, withUsage bool, p *pace) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	flusher := w.(http.Flusher)
	event := []byte("data: " + head + `{"index":0,`)
	start := len(event)
	send := func() bool {
		_, err := w.Write(event)
		flusher.Flush()
		return err == nil
	}
	for i := range count {
		if !p.wait(i + 1) {
			return
		}
		if i == 0 && f.first != "" {
			event = append(append(event[:start], f.first...), `,"logprobs":null,"finish_reason":null}]}`+"\n\n"...)
			if !send() {
				return
			}
		}
		event = append(word(append(event[:start], f.beforePiece...), i), f.afterPiece...)
		if i == count-1 {
			event = append(event, `,"logprobs":null,"finish_reason":"length"}]}`+"\n\n"...)
		} else {
			event = append(event, `,"logprobs":null,"finish_reason":null}]}`+"\n\n"...)
		}
		if !send() {
			return
		}
	}
	end := ""
	if withUsage {
		end = "data: " + head + "]," + usage + "\n\n"
	}
	_, _ = io.WriteString(w, end+"data: [DONE]\n\n")
}

// word is never the same twice in a row: a gateway may take a stream that repeats itself for a fault.
func word(text []byte, i int) []byte {
	return append(strconv.AppendInt(append(text, " w"...), int64(i%1000), 10), '.')
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	text, _ := json.Marshal(message)
	_, _ = fmt.Fprintf(w, `{"error":{"message":%s,"type":"invalid_request_error","param":null,"code":%d}}`, text, status)
}
