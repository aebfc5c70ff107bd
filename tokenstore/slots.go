package tokenstore

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A record is cut into items, since Windows allows 2,560 bytes an item and macOS about 3,000. It has two slots, of which
// one is live:
//
//	NAME.0      head: "drawbridge 1 CHUNKS BYTES SHA256", a newline, the first chunk
//	NAME.0.1    second chunk, and so on
//	NAME.1      head of the other slot
//	NAME.1.1    ...
//
// Slot 0 is live if its head exists; otherwise slot 1 is, if its head exists. So one call of the backend switches:
//
//	from slot 0 to 1: write chunks of 1, write head of 1, delete head of 0 (commit), delete chunks of 0
//	from slot 1 to 0: write chunks of 0, write head of 0 (commit), delete head of 1, delete chunks of 1
//
// An item is never overwritten: KeePassXC asks the human for consent to that, in a dialog that may stay unseen for ever,
// and deleting the head before setting it anew would lose the record in a crash between the two.
//
// Chunks are written upwards and deleted downwards. What a crash leaves in a slot is therefore always chunks 1 to k for
// some k, which the next save finds by counting and removes before it writes.
type record struct {
	s    *session
	name string
}

const (
	smallItem  = 2048    // bytes of text in an item, where keychains are narrow
	largeItem  = 1 << 16 // the same where they are not, and every item costs a disk write
	maxRecord  = 1 << 20
	headWord   = "drawbridge"
	headFormat = 1
)

// head is what the head item of a slot says.
type head struct {
	slot   int
	chunks int // items of the record, this one included
	size   int // bytes
	sum    [sha256.Size]byte
	first  string
}

// nowhere is the head of a record that does not exist: its successor goes to slot 0, which takes one call to find.
var nowhere = head{slot: 1}

func recordOf(s *session, name Name) record { return record{s, string(name)} }

func (r record) headItem(slot int) string     { return fmt.Sprintf("%s.%d", r.name, slot) }
func (r record) chunkItem(slot, i int) string { return fmt.Sprintf("%s.%d.%d", r.name, slot, i) }

// find returns the live head. With ErrDamaged its slot is right and nothing else; with ErrNotFound it is nowhere.
func (r record) find() (head, error) {
	for slot := range 2 {
		text, err := r.s.get(r.headItem(slot))
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nowhere, err
		}
		h, err := parseHead(text)
		h.slot = slot
		return h, err
	}
	return nowhere, ErrNotFound
}

func (r record) load() (string, error) {
	h, err := r.find()
	if err != nil {
		return "", err
	}
	text := strings.Builder{}
	text.WriteString(h.first)
	for i := 1; i < h.chunks; i++ {
		chunk, err := r.s.get(r.chunkItem(h.slot, i))
		if errors.Is(err, ErrNotFound) {
			return "", damaged(fmt.Sprintf("part %d of %d is missing", i+1, h.chunks))
		}
		if err != nil {
			return "", err
		}
		text.WriteString(chunk)
	}
	if text.Len() != h.size || sha256.Sum256([]byte(text.String())) != h.sum {
		return "", damaged("its checksum is wrong")
	}
	return text.String(), nil
}

// save writes text to the slot that is not live and switches to it.
func (r record) save(live head, text string) error {
	target := 1 - live.slot
	if err := r.clear(head{slot: target}); err != nil {
		return err
	}
	if err := r.write(target, text); err != nil {
		return err
	}
	if err := r.s.delete(r.headItem(live.slot)); err != nil && target == 1 {
		return err // slot 0 still decides
	}
	_ = r.clearChunks(live) // the record is saved; what stays of the old one goes with the next save or delete
	return nil
}

func (r record) write(slot int, text string) error {
	chunks := split(text, r.s.itemSize)
	for i, chunk := range chunks[1:] {
		if err := r.s.set(r.chunkItem(slot, i+1), chunk); err != nil {
			return err
		}
	}
	return r.s.set(r.headItem(slot), formatHead(text, chunks))
}

// delete removes both slots, the live one last, so that no crash brings an older text back.
func (r record) delete() error {
	live, err := r.find()
	if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrDamaged) {
		return err
	}
	if err := r.clear(head{slot: 1 - live.slot}); err != nil {
		return err
	}
	return r.clear(live)
}

// clear empties the slot of h, of which no more than the slot need be known.
func (r record) clear(h head) error {
	if err := r.s.delete(r.headItem(h.slot)); err != nil {
		return err
	}
	return r.clearChunks(h)
}

// clearChunks removes the chunks that the head knows of, and then some: a head may be gone or damaged.
func (r record) clearChunks(h head) error {
	last := max(h.chunks-1, 0)
	for {
		_, err := r.s.get(r.chunkItem(h.slot, last+1))
		if errors.Is(err, ErrNotFound) {
			break
		}
		if err != nil {
			return err
		}
		last++
	}
	for ; last > 0; last-- {
		if err := r.s.delete(r.chunkItem(h.slot, last)); err != nil {
			return err
		}
	}
	return nil
}

// split cuts text into chunks of at most size bytes, at character boundaries, as some keychains keep text and not
// bytes. It returns at least one chunk.
func split(text string, size int) []string {
	var chunks []string
	for len(text) > size {
		n := size
		for !utf8.RuneStart(text[n]) {
			n--
		}
		chunks = append(chunks, text[:n])
		text = text[n:]
	}
	return append(chunks, text)
}

func formatHead(text string, chunks []string) string {
	return fmt.Sprintf("%s %d %d %d %x\n%s", headWord, headFormat, len(chunks), len(text), sha256.Sum256([]byte(text)), chunks[0])
}

func parseHead(item string) (head, error) {
	line, first, _ := strings.Cut(item, "\n")
	f := strings.Split(line, " ")
	if len(f) < 2 || f[0] != headWord {
		return head{}, damaged("it has no head")
	}
	if format, err := strconv.Atoi(f[1]); err != nil || format < headFormat {
		return head{}, damaged("its head has no format")
	} else if format > headFormat {
		return head{}, newer(format)
	}
	if len(f) != 5 {
		return head{}, damaged("its head is incomplete")
	}
	h := head{first: first}
	var errs [3]error
	h.chunks, errs[0] = strconv.Atoi(f[2])
	h.size, errs[1] = strconv.Atoi(f[3])
	sum, err := hex.DecodeString(f[4])
	errs[2] = err
	if errors.Join(errs[:]...) != nil || copy(h.sum[:], sum) != len(h.sum) || len(sum) != len(h.sum) {
		return head{}, damaged("its head is unreadable")
	}
	if h.chunks < 1 || h.chunks > 1+maxRecord/(smallItem-utf8.UTFMax) || h.size < 0 || h.size > maxRecord {
		return head{}, damaged("its head is out of range")
	}
	return h, nil
}
