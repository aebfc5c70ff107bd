package clientconfig

import "bytes"

// Change is a change of one file that is worked out and not made.
type Change struct {
	Client Client
	Scope  Scope
	Path   string
	Entry  Entry  // that is added or removed
	Before []byte // without byte order mark; nil if there is no file
	After  []byte // nil if the file goes

	file *file
}

// Entries returns the servers that the client starts as local commands in a scope.
func (c Client) Entries(m Machine, s Scope) ([]Entry, error) {
	_, f, text, err := c.read(m, s)
	if err != nil {
		return nil, err
	}
	entries, err := c.format.entries(text, m, s)
	return entries, inFile(f.path, err)
}

func (c Client) read(m Machine, s Scope) (path string, f *file, text []byte, err error) {
	if path, err = c.Path(m, s); err != nil {
		return path, nil, nil, err
	}
	if f, err = open(path); err != nil {
		return path, nil, nil, err
	}
	text, err = f.text()
	return path, f, text, inFile(path, err)
}

// Add works out how an entry gets in. The error wraps ErrUnchanged or ErrTaken where there is one of that name.
func (c Client) Add(m Machine, s Scope, e Entry) (Change, error) {
	path, f, text, err := c.read(m, s)
	if err != nil {
		return Change{}, err
	}
	after, err := c.format.add(text, m, s, e)
	if err == nil {
		err = f.writable()
	}
	return Change{Client: c, Scope: s, Path: path, Entry: e, Before: f.before(text), After: after, file: f}, inFile(path, err)
}

// Replace works out how an entry takes the place of another one of its name.
func (c Client) Replace(m Machine, s Scope, e Entry) (Change, error) {
	path, f, text, err := c.read(m, s)
	if err != nil {
		return Change{}, err
	}
	change := Change{Client: c, Scope: s, Path: path, Entry: e, Before: f.before(text), file: f}
	variants, err := c.format.remove(text, m, s, e.Name)
	if err == nil {
		change.After, err = c.format.add(variants[0], m, s, e)
	}
	if err == nil {
		err = f.writable()
	}
	return change, inFile(path, err)
}

// before is what a difference is shown against.
func (f *file) before(text []byte) []byte {
	if !f.exists {
		return nil
	}
	return text
}

// Remove works out how an entry gets out. Where a backup shows what the file was without it, it becomes that again to the
// byte: an object that Add had to make goes, and one that was empty stays. The error wraps ErrNoEntry if there is none.
func (c Client) Remove(m Machine, s Scope, e Entry, backups Backups) (Change, error) {
	path, f, text, err := c.read(m, s)
	if err != nil {
		return Change{}, err
	}
	variants, err := c.format.remove(text, m, s, e.Name)
	if err == nil {
		err = f.writable()
	}
	if err != nil {
		return Change{}, inFile(path, err)
	}
	change := Change{Client: c, Scope: s, Path: path, Entry: e, Before: text, After: variants[0], file: f}
	err = backups.each(path, func(old []byte, existed bool) (found bool) {
		bare := bytes.TrimPrefix(old, byteOrderMark)
		again, err := c.format.add(bare, m, s, e)
		found = err == nil && bytes.Equal(again, text)
		for _, v := range variants {
			found = found || existed && bytes.Equal(v, bare)
		}
		if found {
			change.After = bare
		}
		if found && !existed {
			change.After = nil
		}
		return found
	})
	return change, err
}

// Target is the file that is written: Path, or where links on the way lead.
func (c Change) Target() string { return c.file.target }

// Apply keeps the file in backups and makes the change. It returns where the old file is, or "" if there was none. The
// error wraps ErrConcurrent if the file is no longer the one that was read.
func (c Change) Apply(backups Backups) (backup string, err error) {
	if backup, err = backups.keep(c.file); err != nil {
		return "", err
	}
	if c.After == nil {
		return backup, c.file.remove()
	}
	return backup, c.file.replace(c.file.withMark(c.After))
}

// Snippet is what an entry looks like in a file of its own, for people who write it by hand.
func (c Client) Snippet(m Machine, s Scope, e Entry) ([]byte, error) {
	if c.files[s] == nil {
		return nil, ErrScope
	}
	f := c.format
	if j, ok := f.(jsonFormat); ok {
		j.fresh = nil
		f = j
	}
	return f.add(nil, m, s, e)
}
