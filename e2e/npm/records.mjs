// The storage of oidc-provider: maps in memory, one entry per record, with a way to withdraw all grants at once.
const all = new Map();

// What a grant gave. A browser session is not among it: withdrawing a grant does not sign anybody out.
const granted = new Set(['Grant', 'RefreshToken', 'AccessToken', 'AuthorizationCode']);

export class Records {
  constructor(model) {
    this.model = model;
  }

  static revokeGrants() {
    for (const [key, { model }] of all) if (granted.has(model)) all.delete(key);
  }

  async upsert(id, payload, expiresIn) {
    const expires = expiresIn ? Date.now() + expiresIn * 1000 : Infinity;
    all.set(`${this.model}:${id}`, { model: this.model, payload, expires });
  }

  async find(id) {
    const entry = all.get(`${this.model}:${id}`);
    return entry && entry.expires > Date.now() ? entry.payload : undefined;
  }

  async findByUid(uid) {
    return this.#findBy('uid', uid);
  }

  async findByUserCode(userCode) {
    return this.#findBy('userCode', userCode);
  }

  async consume(id) {
    const payload = await this.find(id);
    if (payload) payload.consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    all.delete(`${this.model}:${id}`);
  }

  async revokeByGrantId(grantId) {
    for (const [key, { model, payload }] of all) {
      if (model === this.model && payload.grantId === grantId) all.delete(key);
    }
  }

  #findBy(name, value) {
    for (const { model, payload } of all.values()) {
      if (model === this.model && payload[name] === value) return payload;
    }
    return undefined;
  }
}
