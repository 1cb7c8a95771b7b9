package shard

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The labels by which the Leases of a number of shards are listed.
const (
	labelShards = "tokengrant.dev/shards"
	labelRole   = "tokengrant.dev/lease"
	roleShard   = "shard"
	roleMember  = "member"
)

func (h *Holder) labels(role string) map[string]string {
	return map[string]string{labelShards: strconv.Itoa(h.o.Shards), labelRole: role}
}

func (h *Holder) shardName(shard int) string {
	return fmt.Sprintf("shard-%d-of-%d.tokengrant.dev", shard, h.o.Shards)
}

// memberName has the random part of the identity; the rest may hold what a name may not.
func (h *Holder) memberName() string {
	return "member-" + h.id[strings.LastIndex(h.id, "_")+1:] + ".tokengrant.dev"
}

func isMember(l *coordinationv1.Lease) bool { return l.Labels[labelRole] == roleMember }

func (h *Holder) list(ctx context.Context) ([]coordinationv1.Lease, error) {
	list, err := h.leases.Leases(h.o.Namespace).List(ctx, metav1.ListOptions{LabelSelector: labelShards + "=" + strconv.Itoa(h.o.Shards)})
	if err != nil {
		return nil, fmt.Errorf("listing Leases: %w", err)
	}
	return list.Items, nil
}

// beat renews our membership.
func (h *Holder) beat(ctx context.Context) error {
	leases := h.leases.Leases(h.o.Namespace)
	now := metav1.NewMicroTime(h.o.Clock.Now())
	var err error
	if h.member == nil {
		h.member, err = leases.Get(ctx, h.memberName(), metav1.GetOptions{})
	}
	switch {
	case apierrors.IsNotFound(err):
		h.member, err = leases.Create(ctx, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: h.memberName(), Labels: h.labels(roleMember)},
			Spec: coordinationv1.LeaseSpec{
				HolderIdentity: &h.id, AcquireTime: &now, RenewTime: &now,
				LeaseDurationSeconds: new(int32(h.o.LeaseDuration / time.Second)), //nolint:gosec // nobody waits for decades
			},
		}, metav1.CreateOptions{})
	case err == nil:
		renewed := h.member.DeepCopy()
		renewed.Spec.RenewTime = &now
		h.member, err = leases.Update(ctx, renewed, metav1.UpdateOptions{})
	}
	if err != nil {
		h.member = nil // Look what there is.
		return fmt.Errorf("renewing Lease %s: %w", h.memberName(), err)
	}
	return nil
}

// quit gives back what is held. The others learn first that they may take it.
func (h *Holder) quit(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, h.o.RenewDeadline)
	defer cancel()
	if err := h.leases.Leases(h.o.Namespace).Delete(limited, h.memberName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		h.log.Error(err, "Cannot tell the other processes that this one ends; they find out")
	}
	h.mu.Lock()
	var all sync.WaitGroup
	for _, t := range h.tenures {
		all.Go(func() { h.leave(t) })
	}
	h.mu.Unlock()
	all.Wait()
	if err := h.disband(limited); err != nil {
		h.log.V(1).Info("Cannot give a Lease back; it ends by itself", "lease", h.group.name, "cause", err.Error())
	}
}

// disband gives back the Lease that all hold together, if nobody is left. A process becomes a member before it takes
// that Lease: one that comes now is in the list, or has renewed the Lease since it was read, and the write fails.
func (h *Holder) disband(ctx context.Context) error {
	record, _, err := h.group.Interface.Get(ctx)
	if err != nil || record.HolderIdentity != h.group.Identity() {
		return err
	}
	list, err := h.list(ctx)
	if err != nil {
		return err
	}
	now := h.o.Clock.Now()
	h.sightings.note(now, list)
	for i := range list {
		if isMember(&list[i]) && h.sightings.holder(now, list[i].Name) != "" {
			return nil
		}
	}
	return h.group.giveBack(ctx, record)
}

// collect removes memberships of processes that were killed long ago.
func (h *Holder) collect(ctx context.Context, now time.Time, list []coordinationv1.Lease) {
	for i := range list {
		l := &list[i]
		if !isMember(l) || !h.sightings.forgotten(now, l.Name) {
			continue
		}
		same := metav1.Preconditions{UID: &l.UID, ResourceVersion: &l.ResourceVersion}
		err := h.leases.Leases(h.o.Namespace).Delete(ctx, l.Name, metav1.DeleteOptions{Preconditions: &same})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			h.log.Error(err, "Cannot remove the Lease of a process that is gone", "lease", l.Name)
		}
	}
}
