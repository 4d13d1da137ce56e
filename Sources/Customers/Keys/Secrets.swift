/// How keys and secrets look, so that people and scanners tell them apart.
public enum Secrets {
    /// Every client key begins so.
    public static let keyPrefix = "ck_"
    /// Every secret begins so.
    public static let secretPrefix = "cs_"
}
