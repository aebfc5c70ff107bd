package tokenstore

import (
	"context"
	"maps"
	"slices"
	"sync"

	"drawbridge/internal/secret"
)

// memory is the store of one process: nothing outlives it and no other process sees it.
type memory struct {
	mu    sync.Mutex
	items map[Name]secret.Text // guarded by mu
	locks queues
}

// NewMemory returns a store that lives in this process only.
func NewMemory() Store { return &memory{items: map[Name]secret.Text{}} }

func (m *memory) Load(_ context.Context, name Name) (secret.Text, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	item, ok := m.items[name]
	if !ok {
		return secret.Text{}, ErrNotFound
	}
	return item, nil
}

func (m *memory) Save(_ context.Context, name Name, item secret.Text) error {
	if err := checkItem(name, item); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.items[name] = item
	return nil
}

func (m *memory) Delete(_ context.Context, name Name) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.items, name)
	return nil
}

func (m *memory) List(context.Context) ([]Name, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Keys(m.items)), nil
}

func (m *memory) Lock(ctx context.Context, name string) (func(), error) {
	return m.locks.enter(ctx, name)
}

func (m *memory) Location() string { return "memory of this process" }
