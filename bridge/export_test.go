package bridge

import "time"

// SetClock has a bridge see these clocks: that on the wall, and the one that stands still while the machine sleeps.
func (c *Config) SetClock(wall func() time.Time, awake func() time.Duration) {
	c.clock = func() instant { return instant{wall(), awake(), true} }
}
