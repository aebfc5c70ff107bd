package guard

import (
	"sync"
	"time"
)

// cacheSize is how many tokens are remembered. A token is some hundred bytes here, whatever its length.
const cacheSize = 20_000

// verified is what was found out about a token.
type verified struct {
	id    *Identity
	wrong *refusal  // instead of id: the issuer says that the token is not active
	until time.Time // when this has to be found out again
	by    *provider
	ring  *keyRing // the keys that its signature was verified with; nil for an opaque token

	mu      sync.Mutex
	asked   time.Time // when the issuer was last asked about it
	refused bool      // what it said then
}

// cache remembers tokens by their hash. It has two halves: when the young one is full it becomes the old one, and what of
// that is not used again by the next change is forgotten. So it stays bounded, and tokens in use stay in it.
type cache struct {
	mu         sync.RWMutex
	young, old map[tokenKey]*verified
}

func (c *cache) get(key tokenKey) *verified {
	c.mu.RLock()
	v, young := c.young[key]
	if !young {
		v = c.old[key]
	}
	c.mu.RUnlock()
	if v != nil && !young {
		c.put(key, v)
	}
	return v
}

func (c *cache) put(key tokenKey, v *verified) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.young == nil || len(c.young) >= cacheSize/2 {
		c.young, c.old = map[tokenKey]*verified{}, c.young
	}
	c.young[key] = v
}
