package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxLine bounds a line. Texts are cut, so only groups can make one long.
const maxLine = 1 << 20

// asideDigits make the names of files that were put aside sort by age.
const asideDigits = 12

// resume opens the file and finds the end of its chain. dropped is the size of a line that was cut off.
func (l *Log) resume() (dropped int64, err error) {
	f, err := os.OpenFile(l.cfg.Path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return 0, withoutPath(err)
	}
	l.file, l.out = f, f
	last, size, dropped, err := lastLine(f)
	if err != nil {
		return 0, err
	}
	if dropped > 0 {
		if err := f.Truncate(size); err != nil {
			return 0, withoutPath(err)
		}
	}
	l.size = size
	l.at, err = l.endOf(last)
	return dropped, err
}

// endOf returns where a chain stands that ends with a line. Without a line, it is the chain of the files put aside.
func (l *Log) endOf(last []byte) (position, error) {
	if last == nil {
		return l.endOfAside()
	}
	at, _, hash, _, err := decode(last)
	if err != nil {
		return position{}, fmt.Errorf("its last line: %w; look into it, then move the file away to begin a new chain", err)
	}
	return position{at.Instance, at.Seq, hash}, nil
}

// endOfAside: a crash may have come between putting a file aside and the first line of the next.
func (l *Log) endOfAside() (position, error) {
	older, err := l.aside()
	if err != nil || len(older) == 0 {
		return newChain(), err
	}
	newest := older[len(older)-1]
	f, err := os.Open(newest)
	if err != nil {
		return position{}, err
	}
	defer f.Close()
	last, _, _, err := lastLine(f)
	if err != nil || last == nil {
		return newChain(), err
	}
	at, _, hash, _, err := decode(last)
	if err != nil {
		return position{}, fmt.Errorf("the last line of %q: %w; look into it, then move the file away to begin a new chain", newest, err)
	}
	return position{at.Instance, at.Seq, hash}, nil
}

// aside returns the files that were put aside, oldest first.
func (l *Log) aside() ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(l.cfg.Path))
	if err != nil {
		return nil, withoutPath(err)
	}
	var found []string
	for _, entry := range entries {
		number, ours := strings.CutPrefix(entry.Name(), filepath.Base(l.cfg.Path)+".")
		if ours && len(number) == asideDigits && strings.Trim(number, "0123456789") == "" {
			found = append(found, filepath.Join(filepath.Dir(l.cfg.Path), entry.Name()))
		}
	}
	slices.Sort(found)
	return found, nil
}

// rotate puts the file aside if a line of n bytes would make it too large. The caller has the turn.
func (l *Log) rotate(n int64) error {
	if l.cfg.MaxSize == 0 || l.size == 0 || l.size+n <= l.cfg.MaxSize {
		return nil
	}
	<-l.syncTurn
	defer func() { l.syncTurn <- struct{}{} }()
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("put the audit file aside: %w", err)
	}
	l.synced = l.at.Seq
	// Windows renames no open file, so it is closed first; until the new one is open, nothing can be written.
	closing := l.file.Close()
	l.out, l.file = nil, nil
	aside := fmt.Sprintf("%s.%0*d", l.cfg.Path, asideDigits, l.at.Seq)
	if err := errors.Join(closing, os.Rename(l.cfg.Path, aside)); err != nil {
		return fmt.Errorf("put the audit file aside: %w", err)
	}
	f, err := os.OpenFile(l.cfg.Path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("begin the next audit file: %w", err)
	}
	l.file, l.out, l.size = f, f, 0
	return nil
}

// lastLine returns the last whole line of a file, where it ends, and how many bytes stand behind it.
func lastLine(f *os.File) (line []byte, end, behind int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, 0, 0, err
	}
	from := max(0, info.Size()-2*maxLine)
	tail := make([]byte, info.Size()-from)
	if _, err := f.ReadAt(tail, from); err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, 0, err
	}
	last := bytes.LastIndexByte(tail, '\n')
	if last < 0 && from > 0 {
		return nil, 0, 0, errors.New("its last line has no end")
	}
	behind = int64(len(tail) - last - 1)
	end = info.Size() - behind
	if last < 0 {
		return nil, end, behind, nil
	}
	start := bytes.LastIndexByte(tail[:last], '\n') + 1
	return tail[start:last], end, behind, nil
}

// withoutPath drops the path from an error whose message names the file already.
func withoutPath(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return fmt.Errorf("%s: %w", p.Op, p.Err)
	}
	return err
}
