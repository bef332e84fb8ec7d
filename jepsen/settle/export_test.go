package settle

// DecodeLeaf, DecodeCommand and DecodeOutcome are the parsers of the model. DecodeOutcome returns
// what it read, encoded again.
func DecodeLeaf(b []byte) error {
	_, err := decodeLeaf(b)
	return err
}

func DecodeCommand(b []byte) error {
	_, err := decodeCommand(b)
	return err
}

func DecodeOutcome(b []byte) ([]byte, error) {
	o, err := decodeOutcome(b)
	if err != nil {
		return nil, err
	}
	return o.encode(), nil
}

// RootAt is the index of the newest record of the map root.
func (m *Model) RootAt() uint64 { return m.rootAt }
