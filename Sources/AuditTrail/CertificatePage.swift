import Crypto

extension Certificate {
    /// One page that shows the certificate and verifies it in any browser, without anything from elsewhere: its
    /// content security policy allows nothing but its own script and style.
    ///
    /// - Parameter publicKey: the verifier key of the checkpoint, which the page tells its reader to compare.
    public func page(publicKey: String) -> String {
        // One script, since a page by itself has nothing to import from.
        let verify = Self.file("verify.js").replacing("\nexport ", with: "\n")
        let script = verify + Self.file("certificate.js")
        let style = Self.file("certificate.css")
        let parts = [
            "style-hash": Self.hash(style), "script-hash": Self.hash(script), "id": Self.escaped(row[.id] ?? ""),
            "key": Self.escaped(publicKey), "style": style, "certificate": Self.block(json.text), "script": script,
        ]
        // All at once: what is disclosed could look like the place of another part.
        return Self.file("certificate.html").replacing(/\{([a-z-]+)\}/) { match in
            parts[String(match.1)] ?? String(match.0)
        }
    }

    private static func file(_ name: String) -> String {
        EmbeddedText.files["Sources/AuditTrail/CertificatePage/\(name)"] ?? ""
    }

    /// Source: W3C, Content Security Policy Level 3, section 2.3.1, hash-source.
    private static func hash(_ text: String) -> String {
        Data(SHA256.hash(data: Array(text.utf8))).base64EncodedString()
    }

    private static func escaped(_ text: String) -> String {
        text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing("\"", with: "&quot;")
    }

    /// JSON that can't end the element that it stands in.
    private static func block(_ json: String) -> String {
        json.replacing("<", with: "\\u003c")
    }

    /// The certificate in a page that ``page(publicKey:)`` made; of any other text, the text.
    ///
    /// A page that could show another one than is found here isn't read: it has one element with a certificate and one
    /// script, and no comment, in which either could be hidden.
    static func json(in text: String) throws(Malformed) -> [UInt8] {
        // Bytes, as other programs look for them: to Swift, a mark that combines with ">" makes it another character.
        let page = Array(text.utf8)
        guard page.starts(with: "<!doctype html>".utf8) else { return page }
        let begin = Array("<script type=\"application/json\" id=\"certificate\">".utf8)
        let lowered = page.map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 | 0x20 : $0 }
        guard lowered.ranges(of: "<script".utf8).count == 2, !page.contains("<!--".utf8),
            page.ranges(of: begin).count == 1, let start = page.firstRange(of: begin),
            let end = page[start.upperBound...].firstRange(of: "</script>".utf8)
        else { throw Malformed(description: "the page doesn't hold one certificate") }
        return Array(page[start.upperBound..<end.lowerBound])
    }
}
