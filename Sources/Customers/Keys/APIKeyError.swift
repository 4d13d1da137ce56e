public import LibPQ

/// Why a key couldn't be made or changed.
public enum APIKeyError: Error, Sendable, Hashable {
    case unknownKey(String)
    case revoked(String)
    case expired(String)
    case database(DatabaseError)
}

extension APIKeyError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .unknownKey(let key): "There is no key \(key)."
        case .revoked(let key): "The key \(key) is revoked."
        case .expired(let key): "The key \(key) has expired."
        case .database(let error): "\(error)"
        }
    }
}
