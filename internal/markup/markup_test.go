package markup_test

import (
	"html"
	"testing"

	"drawbridge/internal/markup"
)

func TestFill(t *testing.T) {
	values := map[string]markup.HTML{"title": markup.Text(`<b> & "q" 'a'`), "part": "<p>{{title}}</p>"}
	for _, tt := range []struct{ name, page, want string }{
		{"nothing to fill", "<p>", "<p>"},
		{"escaped", `<p title="{{title}}">{{title}}</p>`, `<p title="&lt;b&gt; &amp; &#34;q&#34; &#39;a&#39;">&lt;b&gt; &amp; &#34;q&#34; &#39;a&#39;</p>`},
		{"markup stays, and is not filled again", "{{part}}.", "<p>{{title}}</p>."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := markup.Fill(markup.HTML(tt.page), values)
			if err != nil || string(got) != tt.want {
				t.Errorf("Fill = %q, %v; want %q", got, err, tt.want)
			}
		})
	}
	for _, page := range []markup.HTML{"{{other}}", "{{title", "{{}}"} {
		if got, err := markup.Fill(page, values); err == nil {
			t.Errorf("Fill(%q) = %q without an error", page, got)
		}
	}
}

// FuzzText: no text leaves the place it was put in, and a browser shows it as it was.
func FuzzText(f *testing.F) {
	f.Add(`"><script>alert(1)</script>`)
	f.Add("&amp;{{x}}'")
	f.Fuzz(func(t *testing.T, s string) {
		got := string(markup.Text(s))
		for _, c := range got {
			if c == '<' || c == '>' || c == '"' || c == '\'' {
				t.Fatalf("Text(%q) = %q", s, got)
			}
		}
		if back := html.UnescapeString(got); back != s {
			t.Fatalf("%q is shown as %q", s, back)
		}
	})
}
