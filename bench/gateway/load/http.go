package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// head is what a response's head says of its body.
type head struct {
	status  int
	length  int64 // -1 where there is none
	chunked bool
	keep    bool
}

const maxHeaders = 100

func readHead(reader *bufio.Reader) (head, error) {
	line, err := reader.ReadSlice('\n')
	if err != nil {
		return head{}, err
	}
	if len(line) < 13 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return head{}, fmt.Errorf("no HTTP/1.1: %.80q", line)
	}
	h := head{length: -1, keep: true}
	if h.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return head{}, err
	}
	for range maxHeaders {
		if line, err = reader.ReadSlice('\n'); err != nil {
			return head{}, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return h, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("content-length")):
			if h.length, err = strconv.ParseInt(string(value), 10, 64); err != nil {
				return head{}, err
			}
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			h.chunked = bytes.EqualFold(value, []byte("chunked"))
		case bytes.EqualFold(name, []byte("connection")):
			h.keep = !bytes.EqualFold(value, []byte("close"))
		}
	}
	return head{}, errors.New("too many headers")
}

// body reads what follows the head, to its own end and no further.
func (h *head) body(reader *bufio.Reader) io.Reader {
	switch {
	case h.chunked:
		return &chunks{reader: reader}
	case h.length >= 0:
		return &fixed{reader: reader, left: h.length}
	default:
		h.keep = false
		return reader
	}
}

type fixed struct {
	reader *bufio.Reader
	left   int64
}

func (f *fixed) Read(to []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	n, err := f.reader.Read(to[:min(int64(len(to)), f.left)])
	f.left -= int64(n)
	if err == io.EOF && f.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// chunks reads the chunked coding; a connection that ends before the last chunk is an error.
type chunks struct {
	reader *bufio.Reader
	left   int64
	ended  bool
}

func (c *chunks) Read(to []byte) (int, error) {
	if c.ended {
		return 0, io.EOF
	}
	if c.left == 0 {
		if err := c.next(); err != nil {
			return 0, broken(err)
		}
		if c.ended {
			return 0, io.EOF
		}
	}
	n, err := c.reader.Read(to[:min(int64(len(to)), c.left)])
	c.left -= int64(n)
	if err == nil && c.left == 0 {
		_, err = c.reader.Discard(2)
	}
	return n, broken(err)
}

func (c *chunks) next() error {
	line, err := c.reader.ReadSlice('\n')
	if err != nil {
		return err
	}
	size, _, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(";"))
	if c.left, err = strconv.ParseInt(string(size), 16, 64); err != nil || c.left < 0 {
		return fmt.Errorf("no size of a chunk: %.80q", line)
	}
	if c.left > 0 {
		return nil
	}
	c.ended = true
	for range maxHeaders {
		if line, err = c.reader.ReadSlice('\n'); err != nil || len(bytes.TrimRight(line, "\r\n")) == 0 {
			return err
		}
	}
	return errors.New("too many trailers")
}

func broken(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
