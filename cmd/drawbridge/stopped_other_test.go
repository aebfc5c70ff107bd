//go:build !unix

package main_test

// serve is played where processes can be stopped.
func serve() {}
