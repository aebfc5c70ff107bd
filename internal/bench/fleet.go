package main

import (
	"errors"
	"sync"
)

// each runs f for 0 to n-1 at once.
func each(n int, f func(int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = f(i) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func closeAll(sessions []session) {
	_ = each(len(sessions), func(i int) error { // closing does not fail
		if sessions[i] != nil {
			sessions[i].close()
		}
		return nil
	})
}
