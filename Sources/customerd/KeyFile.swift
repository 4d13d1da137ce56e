import AuditTrail

/// Files with the keys that sign and verify checkpoints.
enum KeyFile {
    static func signer(_ path: String, pemName: String) throws(FileError) -> NoteSigner {
        let contents = try TextFile.read(path)
        do {
            return try NoteSigner(contents, pemName: pemName)
        } catch {
            throw FileError(path: path, problem: "isn't a signing key: \(error)")
        }
    }

    /// - Parameter keyOrPath: a verifier key, or a file that holds one.
    static func verifier(_ keyOrPath: String) throws(FileError) -> NoteVerifier {
        if let key = try? NoteVerifier(keyOrPath) { return key }
        do {
            return try NoteVerifier(try TextFile.read(keyOrPath))
        } catch let error as FileError {
            throw error
        } catch {
            throw FileError(path: keyOrPath, problem: "isn't a verifier key: \(error)")
        }
    }

    /// - Parameter keyOrPath: the public key of a witness, or a file that holds one.
    static func witness(_ keyOrPath: String) throws(FileError) -> WitnessKey {
        if let key = try? WitnessKey(keyOrPath) { return key }
        let contents = try TextFile.read(keyOrPath)
        do {
            return try WitnessKey(contents)
        } catch {
            throw FileError(path: keyOrPath, problem: "isn't the key of a witness: \(error)")
        }
    }

    /// The verifier keys in a file, one a line.
    static func verifiers(_ path: String) throws(FileError) -> [NoteVerifier] {
        var keys: [NoteVerifier] = []
        let lines = try TextFile.read(path).split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
        for (number, line) in lines.enumerated() where !line.isEmpty {
            // The line isn't quoted: it may be a key that signs.
            guard let key = try? NoteVerifier(String(line)), key.name != nil else {
                throw FileError(path: path, problem: "has something else than a verifier key in line \(number + 1)")
            }
            keys.append(key)
        }
        guard !keys.isEmpty else { throw FileError(path: path, problem: "holds no key") }
        return keys
    }

    /// Creates a file that only its owner can read; it never replaces one.
    static func make(_ path: String, _ signer: NoteSigner) throws(FileError) {
        try TextFile.create("\(signer.text)\n", at: path)
    }
}
