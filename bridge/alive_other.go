//go:build !linux && !darwin && !windows

package bridge

import "time"

// setUserTimeout does nothing: there is no such option, or it is not known.
func setUserTimeout(uintptr, time.Duration) error { return nil }
