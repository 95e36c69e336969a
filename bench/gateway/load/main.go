// A load generator: so many connections, each of which asks again as soon as it has its answer (a closed loop).
//
// The first line of its standard input says what to do (see task), as JSON; so a key is in no process list. When every
// connection has had one answer (or, where streams are held, its first token) it prints a line; with the next line of input
// it begins, and prints what it found as JSON. It is HTTP/1.1 and no more than that: what it costs must not hide what the
// other side costs.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	"slipway/bench/gateway/figures"
)

const (
	maxConnections = 4096
	maxSeconds     = 600
	maxSamples     = 4_000_000
)

// task is what to do.
type task struct {
	URL         string            `json:"url"` // of the chat completions, say
	Headers     map[string]string `json:"headers"`
	Authority   string            `json:"authority"` // PEM file of the authority, for https
	Model       string            `json:"model"`
	Connections int               `json:"connections"`
	Seconds     float64           `json:"seconds"` // an answer that has begun by then is waited for
	Drain       float64           `json:"drain_s"` // but no longer than this
	WarmUp      float64           `json:"warm_up_s"`
	MaxTokens   int               `json:"max_tokens"`
	Stream      bool              `json:"stream"`
	Merges      bool              `json:"merges"` // the engine may put several tokens into one piece of a stream
	Hold        bool              `json:"hold"`   // open a stream on each connection, and keep it until the next line of input
}

// part is what one connection found. Within the time: requests, tokens; whole: with what was waited for afterwards.
type part struct {
	requests, tokens           int
	wholeRequests, wholeTokens int
	wholePieces                int
	errors                     int
	reconnects                 int
	first                      string // error
	ttft, gaps                 []float32
}

type result struct {
	Seconds       float64         `json:"seconds"`
	Requests      int             `json:"requests"`
	Tokens        int             `json:"tokens"`
	WholeRequests int             `json:"whole_requests"`
	WholeTokens   int             `json:"whole_tokens"`
	WholePieces   int             `json:"whole_pieces"` // of streams, with text in them
	Errors        int             `json:"errors"`
	Reconnects    int             `json:"reconnects"`
	FirstError    string          `json:"first_error"`
	TTFT          figures.Summary `json:"ttft"`
	Gap           figures.Summary `json:"gap"`
}

type client struct {
	task    task
	host    string
	secure  *tls.Config
	request []byte
	short   []byte // the same for one token, to warm up with

	connection net.Conn
	reader     *bufio.Reader
}

func main() {
	input := bufio.NewReader(os.Stdin)
	line, err := input.ReadBytes('\n')
	if err != nil {
		log.Fatal("no task: ", err)
	}
	var t task
	if err := json.Unmarshal(line, &t); err != nil {
		log.Fatal("a task that can't be read: ", err)
	}
	if t.Connections < 1 || t.Connections > maxConnections || t.Seconds < 0 || t.Seconds > maxSeconds {
		log.Fatalf("1 to %d connections, at most %d seconds", maxConnections, maxSeconds)
	}
	clients := make([]*client, t.Connections)
	for i := range clients {
		if clients[i], err = newClient(t); err != nil {
			log.Fatal(err)
		}
	}
	ready, failed := warmUp(clients)
	fmt.Printf("{\"ready\":%d,\"first_error\":%s}\n", ready, quoted(failed))
	// Whoever started this may have gone.
	if _, err := input.ReadBytes('\n'); err != nil {
		return
	}
	found := result{}
	if t.Hold {
		found.Requests, found.Errors = held(clients)
	} else {
		found = run(clients)
	}
	text, err := json.Marshal(found)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(text))
}

func quoted(err error) string {
	if err == nil {
		return `""`
	}
	text, _ := json.Marshal(err.Error())
	return string(text)
}

func newClient(t task) (*client, error) {
	to, err := url.Parse(t.URL)
	if err != nil {
		return nil, err
	}
	c := &client{task: t, host: to.Host}
	if to.Scheme == "https" {
		text, err := os.ReadFile(t.Authority)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return nil, errors.New("no certificate in " + t.Authority)
		}
		c.secure = &tls.Config{RootCAs: pool, ServerName: to.Hostname()}
	}
	if c.request, err = written(t, to, t.MaxTokens); err == nil {
		c.short, err = written(t, to, 1)
	}
	return c, err
}

// written is a request as it is sent.
func written(t task, to *url.URL, tokens int) ([]byte, error) {
	body := map[string]any{
		"model":      t.Model,
		"messages":   []map[string]string{{"role": "user", "content": "Tell me of slipways, in as many words as you may."}},
		"max_tokens": tokens,
	}
	if t.Stream {
		body["stream"] = true
		body["stream_options"] = map[string]bool{"include_usage": true}
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	var head bytes.Buffer
	fmt.Fprintf(&head, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n", to.RequestURI(), to.Host)
	for name, value := range t.Headers {
		fmt.Fprintf(&head, "%s: %s\r\n", name, value)
	}
	fmt.Fprintf(&head, "Content-Length: %d\r\n\r\n", len(text))
	return append(head.Bytes(), text...), nil
}

// warmUp asks once on each connection, some at a time; how many of them had an answer.
func warmUp(clients []*client) (ready int, failed error) {
	until := time.Now().Add(seconds(clients[0].task.WarmUp))
	var guard sync.Mutex
	var all sync.WaitGroup
	places := make(chan struct{}, 64)
	for _, c := range clients {
		all.Add(1)
		go func() {
			defer all.Done()
			places <- struct{}{}
			defer func() { <-places }()
			err := c.once(until)
			guard.Lock()
			defer guard.Unlock()
			if err == nil {
				ready++
			} else if failed == nil {
				failed = err
			}
		}()
	}
	all.Wait()
	return ready, failed
}

func (c *client) once(until time.Time) error {
	if err := c.connect(until); err != nil {
		return err
	}
	var p part
	keep, err := c.ask(&p, c.short, until, until)
	if c.task.Hold && err == nil {
		return nil
	}
	if !keep || err != nil {
		c.close()
	}
	return err
}

// held says how many of the streams are still open, and how many have ended.
func held(clients []*client) (open, ended int) {
	var guard sync.Mutex
	var all sync.WaitGroup
	for _, c := range clients {
		if c.connection == nil {
			continue
		}
		all.Add(1)
		go func() {
			defer all.Done()
			_ = c.connection.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			// A gateway may have sent something to keep it alive.
			_, err := io.Copy(io.Discard, c.reader)
			guard.Lock()
			defer guard.Unlock()
			if errors.Is(err, os.ErrDeadlineExceeded) {
				open++
			} else {
				ended++
			}
			c.close()
		}()
	}
	all.Wait()
	return open, ended
}

func run(clients []*client) result {
	began := time.Now()
	end := began.Add(seconds(clients[0].task.Seconds))
	last := end.Add(seconds(clients[0].task.Drain))
	parts := make([]part, len(clients))
	var all sync.WaitGroup
	for i, c := range clients {
		all.Add(1)
		go func() {
			defer all.Done()
			c.loop(&parts[i], end, last)
		}()
	}
	all.Wait()
	found := result{Seconds: clients[0].task.Seconds}
	var ttft, gaps []float32
	for _, p := range parts {
		found.Requests += p.requests
		found.Tokens += p.tokens
		found.WholeRequests += p.wholeRequests
		found.WholeTokens += p.wholeTokens
		found.WholePieces += p.wholePieces
		found.Errors += p.errors
		found.Reconnects += p.reconnects
		if found.FirstError == "" {
			found.FirstError = p.first
		}
		ttft, gaps = append(ttft, p.ttft...), append(gaps, p.gaps...)
	}
	found.TTFT, found.Gap = figures.Of(ttft), figures.Of(gaps)
	return found
}

func (c *client) loop(p *part, end, last time.Time) {
	defer c.close()
	for time.Now().Before(end) {
		if c.connection == nil {
			p.reconnects++
			if err := c.connect(last); err != nil {
				p.fail(err)
				// A server that is away must not be asked a million times.
				time.Sleep(50 * time.Millisecond)
				continue
			}
		}
		keep, err := c.ask(p, c.request, end, last)
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				// It was slow, not wrong: neither an answer nor an error. What it sent is counted.
				return
			}
			p.fail(err)
			time.Sleep(10 * time.Millisecond)
		}
		if err != nil || !keep {
			c.close()
		}
	}
}

func (p *part) fail(err error) {
	p.errors++
	if p.first == "" {
		p.first = err.Error()
	}
}

func (c *client) connect(until time.Time) error {
	dialer := net.Dialer{Deadline: until}
	plain, err := dialer.Dial("tcp", c.host)
	if err != nil {
		return err
	}
	_ = plain.SetDeadline(until)
	c.connection = plain
	if c.secure != nil {
		secure := tls.Client(plain, c.secure)
		if err := secure.Handshake(); err != nil {
			c.close()
			return err
		}
		c.connection = secure
	}
	c.reader = bufio.NewReaderSize(c.connection, 16<<10)
	return nil
}

func (c *client) close() {
	if c.connection != nil {
		_ = c.connection.Close()
		c.connection = nil
	}
}

// ask makes one request and notes what came of it; keep says whether the connection can be used again. Where streams are held
// it returns with the first token.
func (c *client) ask(p *part, request []byte, end, last time.Time) (keep bool, err error) {
	_ = c.connection.SetDeadline(last)
	began := time.Now()
	if _, err := c.connection.Write(request); err != nil {
		return false, err
	}
	h, err := readHead(c.reader)
	if err != nil {
		return false, err
	}
	body := h.body(c.reader)
	if h.status != 200 {
		text, _ := io.ReadAll(io.LimitReader(body, 300))
		return false, fmt.Errorf("status %d: %s", h.status, text)
	}
	if c.task.Stream {
		err = c.stream(p, bufio.NewReaderSize(body, 8<<10), began, end)
	} else {
		err = c.whole(p, body, began, end)
	}
	if c.task.Hold && err == nil {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		return false, fmt.Errorf("the body does not end well: %w", err)
	}
	p.wholeRequests++
	if time.Now().Before(end) {
		p.requests++
	}
	return h.keep, nil
}

func (c *client) whole(p *part, body io.Reader, began, end time.Time) error {
	text, err := io.ReadAll(io.LimitReader(body, 8<<20))
	if err != nil {
		return err
	}
	tokens, found := number(text, `"completion_tokens":`)
	if !found || !bytes.Contains(text, []byte(`"choices"`)) {
		return fmt.Errorf("an answer without choices or usage: %.200s", text)
	}
	now := time.Now()
	p.wholeTokens += tokens
	if now.Before(end) {
		p.tokens += tokens
		p.ttft = append(p.ttft, float32(now.Sub(began).Seconds()))
	}
	return nil
}

func (c *client) stream(p *part, body *bufio.Reader, began, end time.Time) error {
	var before time.Time
	pieces, within, said, done := 0, 0, -1, false
	for {
		line, err := body.ReadSlice('\n')
		if err == io.EOF && done {
			break
		}
		if err == io.EOF {
			return errors.New("a stream ends without [DONE]")
		}
		if err != nil {
			return err
		}
		data, found := bytes.CutPrefix(bytes.TrimRight(line, "\r\n"), []byte("data: "))
		if !found {
			continue
		}
		if done = bytes.Equal(data, []byte("[DONE]")); done {
			continue
		}
		if bytes.Contains(data, []byte(`"error":`)) && !bytes.Contains(data, []byte(`"choices"`)) {
			return fmt.Errorf("an error in a stream: %.200s", data)
		}
		if used, found := number(data, `"completion_tokens":`); found {
			said = used
		}
		if !talks(data) {
			continue
		}
		now := time.Now()
		pieces++
		p.wholePieces++
		p.wholeTokens++
		if now.Before(end) {
			within++
			p.tokens++
			if before.IsZero() {
				p.ttft = append(p.ttft, float32(now.Sub(began).Seconds()))
			} else if len(p.gaps) < maxSamples/c.task.Connections {
				p.gaps = append(p.gaps, float32(now.Sub(before).Seconds()))
			}
		}
		before = now
		if c.task.Hold {
			return nil
		}
	}
	if said != pieces && !(c.task.Merges && said > pieces && pieces > 0) {
		return fmt.Errorf("a stream of %d pieces whose usage says %d tokens (-1: nothing)", pieces, said)
	}
	// Merged tokens count where their pieces did, spread evenly over these.
	p.wholeTokens += said - pieces
	if pieces > 0 {
		p.tokens += within * (said - pieces) / pieces
	}
	return nil
}

// talks says whether a piece has text in it.
func talks(data []byte) bool {
	_, after, found := bytes.Cut(data, []byte(`"content":`))
	after = bytes.TrimLeft(after, " ")
	return found && len(after) > 1 && after[0] == '"' && after[1] != '"'
}

// number is the whole number that follows a name.
func number(data []byte, name string) (int, bool) {
	_, after, found := bytes.Cut(data, []byte(name))
	after = bytes.TrimLeft(after, " ")
	digits := 0
	for digits < len(after) && after[digits] >= '0' && after[digits] <= '9' {
		digits++
	}
	value, err := strconv.Atoi(string(after[:digits]))
	return value, found && err == nil
}

func seconds(count float64) time.Duration { return time.Duration(count * float64(time.Second)) }
