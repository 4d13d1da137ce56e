// A plain implementation of "Delete Customer", to compare with: admission, unit of work and an entry in a chain, with two
// durable commits, as one would write it with net/http and pgx. It has no leases, fences or recovery: a crash between the
// two commits loses the entry.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
)

// The record as the API renders it, in this order.
type customer struct {
	ID               string      `json:"id"`
	FirstName        string      `json:"first_name"`
	LastName         string      `json:"last_name"`
	Email            *string     `json:"email"`
	PhoneNumber      string      `json:"phone_number"`
	Status           string      `json:"status"`
	CustomerType     string      `json:"customer_type"`
	LastSpent        json.Number `json:"last_spent"`
	LastPurchaseDate *time.Time  `json:"last_purchase_date"`
	AppID            string      `json:"appId"`
	CreatedAt        time.Time   `json:"createdAt"`
	UpdatedAt        time.Time   `json:"updatedAt"`
}

const columns = `id::text, first_name, last_name, email, phone_number, status, customer_type, coalesce(last_spent, 0)::text,
	last_purchase_date, created_at, updated_at`

func (c *customer) scan(row pgx.Row, appID string) error {
	c.AppID = "app_" + appID
	err := row.Scan(&c.ID, &c.FirstName, &c.LastName, &c.Email, &c.PhoneNumber, &c.Status, &c.CustomerType, &c.LastSpent,
		&c.LastPurchaseDate, &c.CreatedAt, &c.UpdatedAt)
	c.CreatedAt, c.UpdatedAt = c.CreatedAt.UTC(), c.UpdatedAt.UTC()
	return err
}

type failure struct {
	StatusCode int    `json:"statusCode"`
	Message    string `json:"message"`
	Error      string `json:"error"`
}

// What admission finds.
type caller struct {
	keyID, appID, name, role string
	used                     int64
	resetsAt                 time.Time
}

type entry struct {
	ID, Action, Outcome string
	StatusCode          int
	CustomerID          string
	BeforeImage         []byte
	Caller              caller
	IP, UserAgent       string
	RequestID           string
	IdempotencyKey      string
	Request             []byte
	Constraint          *string
	OccurredAt          time.Time
	Sequence            int64
	PreviousHash        []byte
}

type service struct {
	// Admission needn't be durable: what it reserved and lost was never answered.
	admission, durable *pgxpool.Pool
	limit              int64
	window             time.Duration
}

func main() {
	limit, err := strconv.ParseInt(os.Getenv("CUSTOMERD_RATE_LIMIT"), 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	s := &service{admission: open("off"), durable: open("on"), limit: limit, window: time.Minute}
	http.HandleFunc("/health/ready", func(w http.ResponseWriter, r *http.Request) {})
	http.HandleFunc("/api/v0/customers/", s.serve)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("CUSTOMERD_PORT"), nil))
}

func open(synchronousCommit string) *pgxpool.Pool {
	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	config.ConnConfig.RuntimeParams["synchronous_commit"] = synchronousCommit
	size, err := strconv.Atoi(os.Getenv("PEER_POOL_SIZE"))
	if err != nil {
		log.Fatal(err)
	}
	config.MaxConns = int32(size)
	pool, err := pgxpool.ConnectConfig(context.Background(), config)
	if err != nil {
		log.Fatal(err)
	}
	return pool
}

func (s *service) serve(w http.ResponseWriter, r *http.Request) {
	// Not the request's: a client that leaves doesn't undo what has begun, and its entry is still to be written.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	id := strings.TrimPrefix(r.URL.Path, "/api/v0/customers/")
	var status int
	var body []byte
	var err error
	switch r.Method {
	case http.MethodDelete:
		status, body, err = s.delete(ctx, w, r, id)
	case http.MethodGet:
		status, body, err = s.get(ctx, w, r, id)
	default:
		status, body = fail(405, "Method not allowed", "Method Not Allowed")
	}
	if err != nil {
		log.Print(err)
		status, body = fail(500, "Internal server error", "Internal Server Error")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(body)
}

func fail(status int, message, kind string) (int, []byte) {
	body, _ := json.Marshal(failure{status, message, kind})
	return status, body
}

// One statement: the key, its window, and with an idempotency key the reservation or what is there already.
const admit = `
	WITH key AS (
		SELECT k.id, k.app_id, k.name, k.role FROM peer.keys AS k WHERE k.client_key = $1 AND k.secret_digest = $2),
	counted AS (
		INSERT INTO peer.windows AS w (key_id, started_at, used)
		SELECT key.id, now(), 1 FROM key
		ON CONFLICT (key_id) DO UPDATE
		SET started_at = CASE WHEN w.started_at < now() - $3::interval THEN now() ELSE w.started_at END,
			used = CASE WHEN w.started_at < now() - $3::interval THEN 1 ELSE w.used + 1 END
		RETURNING used, started_at + $3::interval AS resets_at)`

const admitRead = admit + `
	SELECT key.id::text, key.app_id::text, key.name, key.role, counted.used, counted.resets_at FROM key, counted`

const admitWrite = admit + `,
	reserved AS (
		INSERT INTO peer.attempts (app_id, idempotency_key, id, fingerprint)
		SELECT key.app_id, $4, $5, $6 FROM key, counted WHERE counted.used <= $7
		ON CONFLICT DO NOTHING
		RETURNING true)
	SELECT key.id::text, key.app_id::text, key.name, key.role, counted.used, counted.resets_at,
		EXISTS (SELECT FROM reserved), a.fingerprint, a.status_code, a.body
	FROM key CROSS JOIN counted
	LEFT JOIN peer.attempts AS a ON a.app_id = key.app_id AND a.idempotency_key = $4`

func credentials(r *http.Request) (string, []byte) {
	digest := sha256.Sum256([]byte(r.Header.Get("x-client-secret")))
	return r.Header.Get("x-client-key"), digest[:]
}

// Says how the window stands, and whether it is used up.
func (s *service) rate(w http.ResponseWriter, c caller) bool {
	remaining := s.limit - c.used
	if remaining < 0 {
		remaining = 0
	}
	w.Header().Set("X-RateLimit-Limit", strconv.FormatInt(s.limit, 10))
	w.Header().Set("X-RateLimit-Remaining", strconv.FormatInt(remaining, 10))
	w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(c.resetsAt.Unix(), 10))
	return c.used > s.limit
}

func (s *service) get(ctx context.Context, w http.ResponseWriter, r *http.Request, id string) (int, []byte, error) {
	var c caller
	key, digest := credentials(r)
	err := s.admission.QueryRow(ctx, admitRead, key, digest, s.window).
		Scan(&c.keyID, &c.appID, &c.name, &c.role, &c.used, &c.resetsAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return answer(fail(401, "Invalid API credentials", "Unauthorized"))
	} else if err != nil {
		return 0, nil, err
	}
	if s.rate(w, c) {
		return answer(fail(429, "Rate limit exceeded", "Too Many Requests"))
	}
	var found customer
	err = found.scan(s.durable.QueryRow(ctx,
		"SELECT "+columns+" FROM public.customers WHERE app_id = $1 AND id = $2", c.appID, id), c.appID)
	if errors.Is(err, pgx.ErrNoRows) {
		return answer(fail(404, "Customer not found", "Not Found"))
	} else if err != nil {
		return 0, nil, err
	}
	body, err := json.Marshal(found)
	return 200, body, err
}

func (s *service) delete(ctx context.Context, w http.ResponseWriter, r *http.Request, id string) (int, []byte, error) {
	e := entry{ID: newID(), Action: "customer.delete", CustomerID: id, IdempotencyKey: r.Header.Get("idempotency-key"),
		RequestID: newID(), OccurredAt: time.Now().UTC().Truncate(time.Microsecond), UserAgent: r.UserAgent()}
	e.IP, _, _ = net.SplitHostPort(r.RemoteAddr)
	e.Request, _ = json.Marshal(map[string]interface{}{
		"method": r.Method, "path": r.URL.Path, "headers": map[string]string{"host": r.Host}})
	key, digest := credentials(r)
	fingerprint := sha256.Sum256([]byte(r.Method + " " + id))
	var reserved bool
	var earlier []byte
	var status *int
	var body *string
	err := s.admission.QueryRow(ctx, admitWrite, key, digest, s.window, e.IdempotencyKey, e.ID, fingerprint[:], s.limit).
		Scan(&e.Caller.keyID, &e.Caller.appID, &e.Caller.name, &e.Caller.role, &e.Caller.used, &e.Caller.resetsAt,
			&reserved, &earlier, &status, &body)
	if errors.Is(err, pgx.ErrNoRows) {
		return answer(fail(401, "Invalid API credentials", "Unauthorized"))
	} else if err != nil {
		return 0, nil, err
	}
	limited := s.rate(w, e.Caller)
	var text []byte
	switch {
	case limited:
		e.Outcome = "RATE_LIMITED"
		e.StatusCode, text = fail(429, "Rate limit exceeded", "Too Many Requests")
	case reserved:
		if text, err = s.carryOut(ctx, &e); err != nil {
			return 0, nil, err
		}
	case string(earlier) != string(fingerprint[:]):
		e.Outcome = "CONFLICT"
		e.StatusCode, text = fail(422, "idempotency-key was used with a different request", "Unprocessable Entity")
	case status == nil:
		e.Outcome = "CONFLICT"
		e.StatusCode, text = fail(409, "A request with this idempotency-key is in progress", "Conflict")
	default:
		e.Outcome, e.StatusCode, text = "REPLAYED", *status, []byte(*body)
		w.Header().Set("Idempotent-Replayed", "true")
	}
	return e.StatusCode, text, s.append(ctx, &e)
}

// The unit of work, in one transaction.
func (s *service) carryOut(ctx context.Context, e *entry) ([]byte, error) {
	var body []byte
	err := s.durable.BeginFunc(ctx, func(tx pgx.Tx) error {
		var found customer
		err := found.scan(tx.QueryRow(ctx,
			"SELECT "+columns+" FROM public.customers WHERE app_id = $1 AND id = $2 FOR UPDATE", e.Caller.appID, e.CustomerID),
			e.Caller.appID)
		if errors.Is(err, pgx.ErrNoRows) {
			e.Outcome = "NOT_FOUND"
			e.StatusCode, body = fail(404, "Customer not found", "Not Found")
			return e.finish(ctx, tx, body)
		} else if err != nil {
			return err
		}
		if e.BeforeImage, err = json.Marshal(found); err != nil {
			return err
		}
		err = tx.BeginFunc(ctx, func(savepoint pgx.Tx) error {
			_, err := savepoint.Exec(ctx, "DELETE FROM public.customers WHERE app_id = $1 AND id = $2",
				e.Caller.appID, e.CustomerID)
			return err
		})
		var refusal *pgconn.PgError
		if errors.As(err, &refusal) && (refusal.Code == "23503" || refusal.Code == "23001") {
			e.Outcome, e.Constraint = "REFUSED", &refusal.ConstraintName
			e.StatusCode, body = fail(400, "Customer cannot be deleted.", "Bad Request")
		} else if err != nil {
			return err
		} else {
			e.Outcome, e.StatusCode, body = "SUCCEEDED", 200, e.BeforeImage
		}
		return e.finish(ctx, tx, body)
	})
	return body, err
}

func (e *entry) finish(ctx context.Context, tx pgx.Tx, body []byte) error {
	_, err := tx.Exec(ctx, "UPDATE peer.attempts SET status_code = $3, body = $4 WHERE app_id = $1 AND idempotency_key = $2",
		e.Caller.appID, e.IdempotencyKey, e.StatusCode, string(body))
	return err
}

// The entry, in a transaction of its own: the head's row lock puts entries in order.
func (s *service) append(ctx context.Context, e *entry) error {
	return s.durable.BeginFunc(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, "SELECT seq, hash FROM peer.heads WHERE app_id = $1 FOR UPDATE", e.Caller.appID).
			Scan(&e.Sequence, &e.PreviousHash)
		if err != nil {
			return err
		}
		e.Sequence++
		canonical, err := json.Marshal(e)
		if err != nil {
			return err
		}
		hash := sha256.Sum256(append(e.PreviousHash, canonical...))
		_, err = tx.Exec(ctx, `
			INSERT INTO peer.entries (app_id, seq, id, occurred_at, recorded_at, action, outcome, status_code, customer_id,
				before_image, key_id, actor_name, actor_role, ip, user_agent, request_id, idempotency_key, request,
				constraint_name, previous_hash, hash)
			VALUES ($1, $2, $3, $4, now(), $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)`,
			e.Caller.appID, e.Sequence, e.ID, e.OccurredAt, e.Action, e.Outcome, e.StatusCode, e.CustomerID,
			e.BeforeImage, e.Caller.keyID, e.Caller.name, e.Caller.role, e.IP, e.UserAgent, e.RequestID, e.IdempotencyKey,
			e.Request, e.Constraint, e.PreviousHash, hash[:])
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE peer.heads SET seq = $2, hash = $3 WHERE app_id = $1",
			e.Caller.appID, e.Sequence, hash[:])
		return err
	})
}

func answer(status int, body []byte) (int, []byte, error) {
	return status, body, nil
}

func newID() string {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		log.Fatal(err)
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
