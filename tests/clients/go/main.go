// Verifies the tokens of a JSON object on standard input with the recipe of docs/verifiers.md, which is the other file
// of this program. Prints for each name the claims, or null for a refused token.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	verifier, err := NewVerifier(ctx, os.Getenv("ISSUER"), os.Getenv("AUDIENCE"))
	if err != nil {
		return err
	}
	var tokens map[string]string
	if err := json.NewDecoder(os.Stdin).Decode(&tokens); err != nil {
		return err
	}
	seen := map[string]any{}
	for name, token := range tokens {
		claims, err := Verify(ctx, verifier, token)
		if err != nil {
			fmt.Fprintln(os.Stderr, name, "refused:", err)
			seen[name] = nil
			continue
		}
		seen[name] = map[string]string{"sub": claims.Subject, "client_id": claims.ClientID}
	}
	return json.NewEncoder(os.Stdout).Encode(seen)
}
