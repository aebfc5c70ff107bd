// Package bridge carries MCP messages between a stdio client and a server of Streamable HTTP or, through package
// httpsse, of HTTP+SSE.
//
//	stdin ──▶ stdio.Reader ──▶ dispatch ──┬─▶ answered here: ping, server/discover, stand-ins while a human signs in
//	                                      └─▶ relay ──▶ upstream.send ──▶ POST ──▶ server
//	stdout ◀─ stdio.Writer ◀── deliver ◀── JSON body, event stream of a POST, GET stream
//
// Messages are bytes (package envelope finds their members); what the sender wrote is what the receiver reads.
//
// # Who waits for what
//
// stdin is read all the time and every request runs in a goroutine of its own, so nothing holds up a ping. A request
// waits until the [handshake] with the server is open: the server answered initialize and has the initialized
// notification. Where the handshake needs a human (its [Authorizer] says [Pending]) or takes longer than the start-up
// budget, or the server is away, the client's initialize is answered here and the handshake goes on by itself; lists get
// what the server said last (its [Memory]) or stand-ins, among them the tool sign_in, and list_changed notifications follow
// when the server is there. Only operations (tools/call and the
// like) wait for the human, and not for ever.
//
// # Who owns the bytes
//
// Small messages belong to the garbage collector. The bytes of a big answer are lent (package bulk) until deliver
// returns, those of a big tool call until its exchange is over and the transport closed the request's body: what is to
// be kept longer is copied. What a stream brings is queued for stdout and written before more is waited for.
//
// # Who ends what
//
// Run ends on end of input (after answering what is due), on its context (at once), or when stdout breaks. Every
// request gets one answer, none after its cancellation; a request that may have been executed is never sent again.
package bridge
