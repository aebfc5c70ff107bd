package tokenstore

import (
	"errors"
	"slices"
	"strings"
)

// indexName is the record that lists the names of all others, one a line, because go-keyring cannot enumerate. A name
// is added before its record is written and removed after it is deleted: a crash can leave a name without a record,
// never a record without a name.
const indexName = "index"

// readIndex returns no names where there is no index or a damaged one: saves add to it again.
func (k *keychain) readIndex(s *session) ([]string, head, error) {
	r := record{s, indexName}
	live, err := r.find()
	if errors.Is(err, ErrNotFound) {
		return nil, live, nil
	}
	text := ""
	if err == nil {
		text, err = r.load()
	}
	if errors.Is(err, ErrDamaged) {
		k.log.Warn("the list of records is damaged and starts anew")
		return nil, live, nil
	}
	return strings.Fields(text), live, err
}

func writeIndex(s *session, live head, names []string) error {
	return record{s, indexName}.save(live, strings.Join(names, "\n"))
}

func (k *keychain) addToIndex(s *session, name Name) error {
	names, live, err := k.readIndex(s)
	if err != nil || slices.Contains(names, string(name)) {
		return err
	}
	return writeIndex(s, live, append(names, string(name)))
}

func (k *keychain) removeFromIndex(s *session, name Name) error {
	names, live, err := k.readIndex(s)
	i := slices.Index(names, string(name))
	if err != nil || i < 0 {
		return err
	}
	return writeIndex(s, live, slices.Delete(names, i, i+1))
}

// listIndex returns the names that have a record. For the others it finishes what a crash left: pieces of a record that
// was being written or deleted.
func (k *keychain) listIndex(s *session) ([]Name, error) {
	names, live, err := k.readIndex(s)
	if err != nil {
		return nil, err
	}
	var found []Name
	var keep []string
	for _, name := range names {
		r := record{s, name}
		_, err := r.find()
		switch {
		case errors.Is(err, ErrNotFound):
			if r.delete() != nil {
				keep = append(keep, name)
			}
			continue
		case err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer):
			return nil, err
		}
		keep = append(keep, name)
		found = append(found, Name(name))
	}
	if len(keep) < len(names) {
		if err := writeIndex(s, live, keep); err != nil {
			k.log.Debug("list of records not tidied", "error", err)
		}
	}
	return found, nil
}
