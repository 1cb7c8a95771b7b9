package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// calm is how long a manager is left alone before its memory is read: it tidies up 20 s after its start.
const calm = 25 * time.Second

// memory tells what grants, and Secrets that are none of ours, cost. Each figure is that of a manager that was started
// with them, as after any upgrade.
func memory(ctx context.Context, w *world, o options, t *table) error {
	empty, err := w.restarted(ctx)
	if err != nil {
		return err
	}
	if err := w.crowd(ctx, o.foreign); err != nil {
		return err
	}
	crowded, err := w.restarted(ctx)
	if err != nil {
		return err
	}
	if _, err := w.manager(ctx); err != nil {
		return err
	}
	if _, err := w.burstOf(ctx, "memory", o.n); err != nil {
		return err
	}
	if err := w.stopManagers(); err != nil {
		return err
	}
	full, err := w.restarted(ctx)
	if err != nil {
		return err
	}
	if o.profile != "" {
		if err := w.profileRestarted(ctx, o.profile); err != nil {
			return err
		}
	}
	t.add("an empty manager", megabytes(empty.rss))
	t.add(fmt.Sprintf("with %d unrelated Secrets of 4 KB", o.foreign), megabytes(crowded.rss))
	t.add(fmt.Sprintf("and with %d grants", o.n), megabytes(full.rss))
	foreign := float64(crowded.rss-empty.rss) / float64(o.foreign) / 1000
	t.goal("for each unrelated Secret", fmt.Sprintf("%.2f KB", foreign), "≤ 1 KB", foreign <= 1)
	each := float64(full.rss-crowded.rss) / float64(o.n) / 1000
	t.goal("for each grant", fmt.Sprintf("%.2f KB", each), "≤ 12 KB", each <= 12)
	peaked := float64(full.peak) / float64(full.rss)
	t.goal("peak at the start ÷ steady", fmt.Sprintf("%.2f", peaked), "≤ 1.5", peaked <= 1.5)
	return nil
}

// restarted measures a fresh manager, and stops it.
func (w *world) restarted(ctx context.Context) (usage, error) {
	m, err := w.manager(ctx)
	if err != nil {
		return usage{}, err
	}
	if err := pause(ctx, calm); err != nil {
		return usage{}, err
	}
	u, err := usageOf(m)
	if err != nil {
		return usage{}, err
	}
	return u, w.stopManagers()
}

// profileRestarted tells what a fresh manager holds.
func (w *world) profileRestarted(ctx context.Context, dir string) error {
	m, err := w.manager(ctx)
	if err != nil {
		return err
	}
	if err := pause(ctx, calm); err != nil {
		return err
	}
	if err := w.profile(ctx, m, dir, time.Second); err != nil {
		return err
	}
	return w.stopManagers()
}

// crowd fills the cluster with Secrets that have nothing to do with us.
func (w *world) crowd(ctx context.Context, n int) error {
	if err := w.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "crowd"}}); err != nil {
		return err
	}
	content := map[string][]byte{"blob": []byte(strings.Repeat("x", 4<<10))}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(applyAtOnce)
	for i := range n {
		group.Go(func() error {
			return w.client.Create(ctx, &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("foreign-%05d", i), Namespace: "crowd"}, Data: content,
			})
		})
	}
	return group.Wait()
}
